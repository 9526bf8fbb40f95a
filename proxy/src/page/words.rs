//! What a visitor reads: plain words for somebody who is no engineer, and one thing to do.
//!
//! Money and contracts are never named: why an app is paused is a matter between its owner and the
//! marketplace. What the firewall saw is not told either, because it would teach how to pass it.

use crate::refusal::Refusal;

/// The words of one page.
pub(super) struct Words {
    /// Heading.
    pub(super) title: &'static str,
    /// What happened, one sentence.
    pub(super) text: &'static str,
    /// What to do, one or two sentences.
    pub(super) advice: &'static str,
}

const fn words(title: &'static str, text: &'static str, advice: &'static str) -> Words {
    Words { title, text, advice }
}

/// The words for `refusal`.
pub(super) const fn of(refusal: &Refusal) -> Words {
    match refusal {
        Refusal::BadRequest(_)
        | Refusal::HeaderTooLarge
        | Refusal::UriTooLong
        | Refusal::MethodNotAllowed
        | Refusal::VersionNotSupported
        | Refusal::CodingNotSupported
        | Refusal::ExpectationFailed
        | Refusal::RequestTimeout(_) => of_malformed(refusal),
        Refusal::UnknownHost => words(
            "There is no site at this address",
            "No app answers at the name you opened.",
            "Check the spelling of the address. If it is your own app, see what its domain still needs.",
        ),
        Refusal::Misdirected => words(
            "This came through the wrong door",
            "Your browser used a connection that was opened for another site.",
            "Reload the page: your browser then opens a new connection.",
        ),
        Refusal::HttpsRequired | Refusal::RedirectToHttps { .. } => words(
            "This site accepts secure connections only",
            "What you sent came over an insecure connection, so it was not taken.",
            "Open the site again with an address that begins with https, and send it once more.",
        ),
        Refusal::Suspended => words(
            "This app is paused",
            "The app is switched off at the moment.",
            "Please come back later. If it is your own app, your account tells you how to go on.",
        ),
        Refusal::VisitorLimit { .. } => words(
            "Please slow down a little",
            "Very many requests came from your connection in a short time.",
            "Wait a moment, then reload the page.",
        ),
        Refusal::TenantLimit { .. } => words(
            "This app is very busy",
            "More people want to use this app right now than it can serve.",
            "Wait a moment, then reload the page.",
        ),
        Refusal::Blocked { .. } => words(
            "This request was stopped",
            "It looked like something that could harm the app, so our protection did not let it pass.",
            "If you used the app as usual, go back and try other input, or send its owner the reference below.",
        ),
        Refusal::AppBusy
        | Refusal::NoBackend
        | Refusal::BackendDown
        | Refusal::BackendTimeout
        | Refusal::BackendBroken
        | Refusal::ShuttingDown => of_unavailable(refusal),
    }
}

const fn of_malformed(refusal: &Refusal) -> Words {
    match refusal {
        Refusal::HeaderTooLarge => words(
            "Too much came with this request",
            "Your browser sent more details with its request, often old cookies, than this site accepts.",
            "Delete this site's cookies in your browser, then try again.",
        ),
        Refusal::UriTooLong => words(
            "This address is too long",
            "The address you opened is longer than this site accepts.",
            "Check the link you followed, or begin at the site's first page.",
        ),
        Refusal::RequestTimeout(_) => words(
            "That took too long",
            "What you sent arrived so slowly that we stopped waiting for the rest.",
            "Check your connection to the internet, then try again.",
        ),
        Refusal::VersionNotSupported => words(
            "This version of HTTP is not spoken here",
            "Your program uses a version of the web's language that this site does not know.",
            "Try another browser, or a newer version of the program.",
        ),
        Refusal::CodingNotSupported => words(
            "This form of sending is not taken here",
            "Your program packed what it sent in a way that this site cannot open.",
            "If you wrote the program, send the data without a transfer coding, or in chunks.",
        ),
        Refusal::ExpectationFailed => words(
            "We cannot promise what was asked",
            "Your program expects something of this site that it does not do.",
            "If you wrote the program, leave its Expect field out.",
        ),
        Refusal::MethodNotAllowed => words(
            "This cannot be done here",
            "Your browser or program asked for something that no site here offers.",
            "Go back to the page you came from and try it from there.",
        ),
        _ => words(
            "We could not understand this request",
            "Your browser or program sent something that this site cannot read.",
            "Go back, reload the page and try again. If you followed a link, it may be damaged.",
        ),
    }
}

const fn of_unavailable(refusal: &Refusal) -> Words {
    match refusal {
        Refusal::AppBusy => words(
            "This app has its hands full",
            "It works on as many requests as it can at the moment.",
            "Wait a moment, then reload the page. If you sent a form, send it once more: it did not arrive.",
        ),
        Refusal::NoBackend => words(
            "This app is not ready yet",
            "Its owner has not connected it to a server so far.",
            "Please come back later. If it is your own app, give it a backend that takes traffic.",
        ),
        Refusal::BackendTimeout => words(
            "This app took too long to answer",
            "The server behind the app did not answer in time.",
            "Reload the page in a minute. If you sent a form, first check whether it arrived.",
        ),
        Refusal::BackendBroken => words(
            "This app gave an answer we could not use",
            "The server behind the app began to answer and made a mistake.",
            "Reload the page. If it happens again, send the app's owner the reference below.",
        ),
        Refusal::ShuttingDown => words(
            "One moment, please",
            "The server that answered you is about to restart.",
            "Reload the page: another one takes over at once.",
        ),
        _ => words(
            "This app cannot be reached right now",
            "The server behind the app does not answer.",
            "Reload the page in a minute. If it lasts, send the app's owner the reference below.",
        ),
    }
}
