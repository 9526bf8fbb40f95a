use super::super::plain;
use super::*;

const NOW: Timestamp = Timestamp::from_unix_millis(1_800_000_000_000);
const DAY: Duration = Duration::from_secs(86_400);

/// Every sentence with every value that changes its length or its words.
fn every_sentence() -> Vec<Message<'static>> {
    let mut all = vec![
        Message::InvalidName,
        Message::Suspended,
        Message::Ending,
        Message::Circle,
        Message::Issuing,
        Message::Prepared,
        Message::Deploying,
        Message::Kept { cause: Refusal::Proved },
        Message::Kept { cause: Refusal::Decided },
        Message::Kept { cause: Refusal::Lapsed },
        Message::MovingSoon,
        Message::Lost,
        Message::Uploaded,
        Message::NotReady,
    ];
    let (zone, found) =
        ("a-very-long-name-of-a-shop.example.co.uk", "AAAA 2001:db8:1234:5678:9abc:def0:1234:5678");
    for provider in [None, Some("Gandi"), Some("DNS Made Easy")] {
        all.extend([
            Message::Add { provider },
            Message::Prove { provider },
            Message::Delegate { provider },
            Message::ProveElsewhere { provider },
            Message::Silent { zone, provider },
            Message::Conflict { found, provider },
            Message::Conflict { found: "CNAME old.example.net", provider },
        ]);
    }
    for entry in ["@", "shop", "_stoa.shop"] {
        all.push(Message::Misplaced { entry });
    }
    all.push(Message::LeftOver { found });
    for (stale, runs) in [("ns1.old-host.net", "ns1.new-host.net"), ("DNS Made Easy", "Google Cloud DNS")] {
        all.push(Message::WrongZone { zone, stale, runs });
    }
    all.extend([
        Message::Strangers { zone },
        Message::BadSignature { zone },
        Message::Unregistered { zone },
        Message::Proxied { by: "Cloudflare" },
    ]);
    for holds in [0, 60, 61, 5401, 999_999].map(Duration::from_secs) {
        all.push(Message::Late { holds });
    }
    for allowed in [None, Some("pki.goog"), Some("letsencrypt.org")] {
        all.push(Message::OthersOnly { allowed });
        all.extend([NOW, NOW.plus(DAY * 30)].map(|until| Message::NoRenewal { allowed, until }));
    }
    for at in [Timestamp::default(), NOW, NOW.plus(DAY / 2), NOW.plus(DAY * 300)] {
        all.extend(every_sentence_with(at));
    }
    all.extend([Message::Removed { until: None }, Message::ClaimedElsewhere { free_at: None }]);
    all
}

fn every_sentence_with(at: Timestamp) -> [Message<'static>; 12] {
    [
        Message::Removed { until: Some(at) },
        Message::ClaimedElsewhere { free_at: Some(at) },
        Message::Remembered { until: at },
        Message::OurProblem { retry_at: at },
        Message::Live { until: at },
        Message::UploadEnds { until: at },
        Message::Changed { until: at },
        Message::Unproved { until: at },
        Message::Unprovable { until: at },
        Message::Moved { until: at },
        Message::Moving { until: at },
        Message::Challenged { until: at },
    ]
}

#[test]
fn every_sentence_is_short_and_plain_and_says_who_acts_and_when() {
    let all = every_sentence();
    let paces = [Pace::Seconds, Pace::Minutes, Pace::Hour, Pace::Hours, Pace::Day];
    let faults: Vec<_> = all
        .iter()
        .flat_map(|message| {
            paces.map(|pace| plain::check_step(message.who(), &message.text(NOW, pace)).err())
        })
        .flatten()
        .map(|fault| fault.to_string())
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Every sentence about records that are set for creators, with what makes it long.
fn every_notice() -> Vec<Notice<'static>> {
    let zone = "a-very-long-name-of-a-shop.example.co.uk";
    let mut all =
        vec![Notice::Ready, Notice::Complete, Notice::TakenBack, Notice::Overtaken, Notice::NotOnTheInternet];
    all.extend([Notice::ByHand, Notice::Returned, Notice::NotWanted, Notice::LinkIsUsed]);
    for provider in ["Cloudflare", "your name server"] {
        all.extend([
            Notice::Working { provider },
            Notice::BadKey { provider },
            Notice::NoZone { provider, zone },
            Notice::NoAnswer { provider },
            Notice::NotTaken { provider },
            Notice::InTheWay { provider },
            Notice::LeftAlone { provider },
            Notice::HalfWay { provider },
            Notice::Follow { provider, until: NOW.plus(DAY * 7) },
        ]);
        all.extend([None, Some(NOW), Some(NOW.plus(DAY * 7))].map(|until| Notice::Set { provider, until }));
    }
    all
}

#[test]
fn every_notice_is_short_and_plain_and_says_who_acts_and_when() {
    let all = every_notice();
    let faults: Vec<_> = all
        .iter()
        .filter_map(|notice| plain::check_step(notice.who(), &notice.text(NOW)).err())
        .map(|fault| fault.to_string())
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
    let kinds: std::collections::HashSet<_> = all.iter().map(std::mem::discriminant).collect();
    assert_eq!(kinds.len(), 19, "a new notice belongs into `every_notice`");
}

#[test]
fn an_offer_is_plain() {
    for provider in ["Cloudflare", "Google Cloud DNS", "DNS Made Easy"] {
        assert_eq!(plain::check(&offer(provider)), Ok(()));
    }
}

#[test]
fn what_becomes_of_mail_is_told_plainly() {
    assert_eq!([true, false].map(|has_mail| plain::check(mail(has_mail))), [Ok(()), Ok(())]);
}

#[test]
fn every_kind_of_message_is_checked() {
    let kinds: std::collections::HashSet<_> = every_sentence().iter().map(std::mem::discriminant).collect();
    assert_eq!(kinds.len(), 40, "a new message belongs into `every_sentence`");
    let texts: std::collections::HashSet<_> = every_sentence()
        .iter()
        .map(|message| message.text(NOW, Pace::Seconds))
        .map(|text| text[..12].to_owned())
        .collect();
    assert!(texts.len() > 20, "sentences are told apart: {texts:?}");
}

#[test]
fn a_moment_is_a_time_today_and_a_date_later() {
    assert_eq!(moment(NOW.plus(DAY / 3), NOW), "16:00 UTC");
    assert_eq!(moment(NOW.plus(DAY * 3), NOW), "18 January 2027");
}

#[test]
fn a_span_is_told_in_its_largest_unit() {
    let told = [5, 300, 3600, 7200, 86_400, 200_000].map(|seconds| span(Duration::from_secs(seconds)));
    assert_eq!(told, ["a minute", "5 minutes", "60 minutes", "2 hours", "24 hours", "3 days"]);
}

#[test]
fn how_often_it_is_looked_is_told_as_it_is() {
    let told = |seconds| {
        let facts = Facts { look_every_seconds: seconds, ..Facts::unknown() };
        Message::Add { provider: None }.text(NOW, Pace::of(&facts))
    };
    let ends = [(None, "seconds"), (Some(5), "seconds"), (Some(66), "minutes"), (Some(330), "minutes")];
    let later = [(Some(3_960), "hour"), (Some(23_760), "few hours"), (Some(95_040), "24 hours")];
    for (seconds, end) in ends.into_iter().chain(later) {
        assert!(told(seconds).ends_with(&format!("{end}.")), "{seconds:?}: {}", told(seconds));
    }
}
