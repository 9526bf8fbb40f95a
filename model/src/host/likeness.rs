//! Names that people take for another name.
//!
//! Two names are alike if their skeletons are the same: what one sees at a glance (after UTS 39 §4, with a table of
//! our own for the letters that matter in host names). Fonts differ, so this finds imitations; it proves none.

use super::Host;

/// Letters beyond ASCII, and digits, with the letter that they are taken for.
const TWINS: [(&str, char); 20] = [
    ("0οоօ〇", 'o'),
    ("1iіıίïìíîĩīįӏι|", 'l'),
    ("5ѕșşśšŝ", 's'),
    ("аàáâãäåāăąα", 'a'),
    ("еёèéêëēĕėęěε", 'e'),
    ("сçćĉċčϲ", 'c'),
    ("рρþ", 'p'),
    ("уùýÿŷγ", 'y'),
    ("хχ", 'x'),
    ("òóôõöōŏőøσ", 'o'),
    ("úûüũūŭůűųυ", 'u'),
    ("ñńņňŋηп", 'n'),
    ("ķκк", 'k'),
    ("ţťțτт", 't'),
    ("ďđԁ", 'd'),
    ("ğĝġģɡ", 'g'),
    ("ĥħһ", 'h'),
    ("ĵјʝ", 'j'),
    ("ŵωѡ", 'w'),
    ("źżžʐ", 'z'),
];
/// Letters that stand together like one.
const PAIRS: [(&str, &str); 3] = [("rn", "m"), ("vv", "w"), ("cl", "d")];

/// Whether `host` is, or lies below, a name that looks like `own` and is another one.
#[must_use]
pub fn imitates(host: &Host, own: &Host) -> bool {
    if host.is_within(own) {
        return false;
    }
    let labels = own.as_str().split('.').count();
    let mut last: Vec<&str> = host.as_str().rsplit('.').take(labels).collect();
    last.reverse();
    last.len() == labels && skeleton(&last.join(".")) == skeleton(own.as_str())
}

fn skeleton(name: &str) -> String {
    let (shown, _) = idna::domain_to_unicode(name);
    let twin = |letter: char| {
        TWINS.iter().find(|(twins, _)| twins.contains(letter)).map_or(letter, |(_, plain)| *plain)
    };
    // A hyphen is not seen.
    let letters: String = shown.to_lowercase().chars().filter(|letter| *letter != '-').map(twin).collect();
    PAIRS.iter().fold(letters, |text, (pair, one)| text.replace(pair, one))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    #[test]
    fn what_one_reads_as_our_name_is_alike() {
        let own = host("microapps.example");
        for name in [
            "micr0apps.example",
            "m1croapps.example",
            "micro-apps.example",
            "rnicroapps.example",
            "login.mlcroapps.example",
            "mícroapps.example",
            "micrоapps.example",
        ] {
            assert!(imitates(&host(name), &own), "{name}");
        }
    }

    #[test]
    fn our_own_names_and_others_are_not_alike() {
        let own = host("microapps.example");
        for name in
            ["microapps.example", "shop.microapps.example", "macroapps.example", "microapps.test", "example"]
        {
            assert!(!imitates(&host(name), &own), "{name}");
        }
    }
}
