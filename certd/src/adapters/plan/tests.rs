use proptest::prelude::*;

use super::super::undo::{given_up, reverse};
use super::*;

fn zone() -> Host {
    Host::parse("example.com").unwrap()
}

fn name(text: &str) -> RecordName {
    RecordName::parse(text).unwrap()
}

fn record(at: &str, content: Content) -> Record {
    let raw = serde_json::json!({ "kept": content.to_string() });
    Record { raw, ..Record::new(name(at), 300, content) }
}

fn other(at: &str, kind: &str) -> Record {
    record(at, Content::Other { kind: kind.to_owned(), text: format!("the {kind} of {at}") })
}

fn alias(at: &str, target: &str) -> Record {
    record(at, Content::alias(target))
}

fn address(at: &str, last: u8) -> Record {
    record(at, Content::A([192, 0, 2, last].into()))
}

fn text(at: &str, text: &str) -> Record {
    record(at, Content::Txt(text.to_owned()))
}

fn lines(plan: &Plan) -> Vec<String> {
    plan.changes.iter().map(ToString::to_string).collect()
}

/// What a provider does.
fn exchanged(found: &[Record], changes: &[Change]) -> Vec<Record> {
    let removed = |record: &Record| changes.iter().any(|change| change.removed().any(|old| old.says(record)));
    let mut zone: Vec<Record> = found.iter().filter(|record| !removed(record)).cloned().collect();
    zone.extend(changes.iter().flat_map(Change::added).cloned());
    zone
}

#[test]
fn an_alias_replaces_addresses_and_says_so() {
    let found = [address("www.example.com", 7), other("example.com", "MX")];
    let plan = make(&zone(), Apex::Plain, &[alias("www.example.com", "edge.test")], &found);
    assert_eq!(lines(&plan), ["remove www.example.com A 192.0.2.7", "add www.example.com CNAME edge.test"]);
    assert_eq!(plan.obstacles, []);
}

#[test]
fn addresses_replace_an_alias_and_the_addresses_of_the_other_family() {
    let six = record("example.com", Content::Aaaa("2001:db8::7".parse().unwrap()));
    let found =
        [six, address("example.com", 7), text("example.com", "v=spf1 -all"), other("example.com", "ALIAS")];
    let plan = make(&zone(), Apex::Plain, &[address("example.com", 80)], &found);
    assert_eq!(
        lines(&plan),
        [
            "replace example.com A 192.0.2.7 by A 192.0.2.80",
            "remove example.com AAAA 2001:db8::7",
            "remove example.com ALIAS the ALIAS of example.com",
        ]
    );
    assert_eq!(plan.untouched, [text("example.com", "v=spf1 -all")]);
}

#[test]
fn texts_are_added_beside_those_of_others_with_their_time_to_live() {
    let found = [text("example.com", "v=spf1 -all")];
    let mine = Record { ttl: 60, ..text("example.com", "stoa") };
    let plan = make(&zone(), Apex::Plain, std::slice::from_ref(&mine), &found);
    assert_eq!(lines(&plan), [r#"add example.com TXT "stoa""#]);
    assert_eq!(plan.changes[0].after, [found[0].clone(), Record { ttl: 300, ..mine }]);
}

#[test]
fn what_is_there_already_is_not_changed() {
    let found = [alias("www.example.com", "edge.test"), text("_stoa.www.example.com", "mine")];
    let plan = make(&zone(), Apex::Plain, &found, &found);
    assert_eq!((plan.changes, plan.obstacles), (Vec::new(), Vec::new()));
}

#[test]
fn what_must_stay_is_named_where_it_is_in_the_way() {
    let says = |wanted: &[Record], found: &[Record]| {
        let plan = make(&zone(), Apex::Plain, wanted, found);
        assert_eq!(plan.changes, [], "nothing is planned at a name with an obstacle");
        plan.obstacles.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(
        says(&[alias("example.com", "edge.test")], &[other("example.com", "MX"), address("example.com", 7)]),
        "`example.com` has MX the MX of example.com, beside which no CNAME can stand: use A and AAAA records there"
    );
    assert_eq!(
        says(&[text("_a.example.com", "x")], &[alias("_a.example.com", "elsewhere.test")]),
        "`_a.example.com` is an alias (CNAME elsewhere.test): add the record at the name that it leads to"
    );
    assert_eq!(
        says(&[address("a.sub.example.com", 1)], &[other("sub.example.com", "NS")]),
        "`sub.example.com` is a zone of its own: connect that zone"
    );
    assert_eq!(says(&[address("example.org", 1)], &[]), "`example.org` does not lie in this zone");
    assert_eq!(
        says(&[other("a.example.com", "MX")], &[]),
        "MX records are left to others: `a.example.com` must be set by hand"
    );
    assert_eq!(
        says(&[alias("a.example.com", "x.test"), text("a.example.com", "x")], &[]),
        "a CNAME and other records are wanted at `a.example.com`"
    );
}

#[test]
fn a_provider_that_flattens_takes_an_alias_at_the_apex_beside_everything() {
    let found = [other("example.com", "MX"), other("example.com", "NS"), address("example.com", 7)];
    let plan = make(&zone(), Apex::Flattened, &[alias("example.com", "edge.test")], &found);
    assert_eq!(plan.obstacles, []);
    let after = exchanged(&found, &plan.changes);
    let applied = plan.applied();
    let (back, left) = reverse(&applied, Apex::Flattened, &after);
    assert_eq!(left, []);
    assert!(same(&exchanged(&after, &back), &found));
}

#[test]
fn what_others_have_changed_since_is_left_alone() {
    let found = [address("www.example.com", 7)];
    let wanted = [alias("www.example.com", "edge.test"), text("_stoa.www.example.com", "mine")];
    let plan = make(&zone(), Apex::Plain, &wanted, &found);
    let applied = plan.applied();
    let now = [
        alias("www.example.com", "other.test"),
        text("_stoa.www.example.com", "mine"),
        text("_stoa.www.example.com", "theirs"),
    ];
    let (back, left) = reverse(&applied, Apex::Plain, &now);
    let after = exchanged(&now, &back);
    assert_eq!(after, [alias("www.example.com", "other.test"), text("_stoa.www.example.com", "theirs")]);
    assert!(left.iter().all(|left| left.change.name == name("www.example.com")), "{left:?}");
    assert_eq!(
        left[1].to_string(),
        "`www.example.com` was changed by others since and is left alone: it has CNAME other.test"
    );
}

#[test]
fn what_somebody_took_away_after_us_is_not_filled_with_what_stood_before() {
    let found = [address("www.example.com", 7), address("www.example.com", 8)];
    let plan = make(&zone(), Apex::Plain, &[alias("www.example.com", "edge.test")], &found);
    let applied = plan.applied();
    let told = |now: &[Record]| given_up(&applied, now).iter().map(ToString::to_string).collect::<Vec<_>>();
    let said = "`www.example.com` was changed by others since and is left alone: it has nothing";
    assert_eq!(told(&[]), [said, said]);
    assert_eq!(told(&exchanged(&found, &plan.changes)), [""; 0], "ours is there");
    assert_eq!(told(&found), [""; 0], "theirs is back");
    let new = make(&zone(), Apex::Plain, &[alias("new.example.com", "edge.test")], &[]).applied();
    assert_eq!(given_up(&new, &[]), [], "nothing stood there before");
}

const PLACES: [&str; 4] = ["example.com", "www.example.com", "_stoa.www.example.com", "a.sub.example.com"];
const OTHERS: [&str; 4] = ["MX", "NS", "SRV", "ALIAS"];

fn any_record() -> impl Strategy<Value = Record> {
    (0..PLACES.len(), 0..6_usize, 0..3_u8).prop_map(|(place, kind, number)| {
        let at = PLACES[place];
        match kind {
            0 => address(at, number),
            1 => record(at, Content::Aaaa([0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into()].into())),
            2 => alias(at, "old.test"),
            3 => text(at, &format!("text {number}")),
            4 => record(
                at,
                Content::Caa { flags: 0, tag: "issue".to_owned(), value: format!("ca{number}.test") },
            ),
            _ => other(at, OTHERS[usize::from(number)]),
        }
    })
}

/// A zone as servers hold one: no two records that say the same, and nothing beside an alias.
fn any_zone() -> impl Strategy<Value = Vec<Record>> {
    any_records().prop_map(|records| {
        let is_alias = |record: &&Record| record.content.kind() == "CNAME";
        let aliases: Vec<RecordName> =
            records.iter().filter(is_alias).map(|record| record.name.clone()).collect();
        let stands = |record: &Record| is_alias(&record) || !aliases.contains(&record.name);
        records.into_iter().filter(stands).collect()
    })
}

/// Records without two that say the same.
fn any_records() -> impl Strategy<Value = Vec<Record>> {
    prop::collection::vec(any_record(), 0..12).prop_map(|records| {
        let mut distinct: Vec<Record> = Vec::new();
        for record in records {
            if !distinct.iter().any(|there| there.says(&record)) {
                distinct.push(record);
            }
        }
        distinct
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_plan_is_undone_whole_also_after_a_part_of_it(
        found in any_zone(),
        wanted in any_records(),
        flattened in any::<bool>(),
        steps in 0..20_usize,
    ) {
        let apex = if flattened { Apex::Flattened } else { Apex::Plain };
        let plan = make(&zone(), apex, &wanted, &found);
        let mut half = found.clone();
        let removed: Vec<Record> = plan.changes.iter().flat_map(Change::removed).cloned().collect();
        let added: Vec<Record> = plan.changes.iter().flat_map(Change::added).cloned().collect();
        for gone in removed.iter().take(steps) {
            half.retain(|record| !record.says(gone));
        }
        half.extend(added.iter().take(steps.saturating_sub(removed.len())).cloned());
        let applied = plan.applied();
        let (back, left) = reverse(&applied, apex, &half);
        prop_assert_eq!(left, []);
        let after = exchanged(&half, &back);
        prop_assert!(same(&after, &found), "{:?} is not {:?}", after, found);
        prop_assert_eq!(reverse(&applied, apex, &after).0, []);
    }

    #[test]
    fn nothing_but_routes_is_ever_taken_away(found in any_zone(), wanted in any_records()) {
        let plan = make(&zone(), Apex::Plain, &wanted, &found);
        for removed in plan.changes.iter().flat_map(Change::removed) {
            prop_assert!(ROUTES.contains(&removed.content.kind()), "{}", removed);
        }
        let after = exchanged(&found, &plan.changes);
        let kept = |record: &&Record| !ROUTES.contains(&record.content.kind());
        for record in found.iter().filter(kept) {
            prop_assert!(after.contains(record), "{} is gone", record);
        }
    }

    #[test]
    fn what_was_applied_needs_no_second_time(found in any_zone(), wanted in any_records()) {
        let plan = make(&zone(), Apex::Plain, &wanted, &found);
        let after = exchanged(&found, &plan.changes);
        let again = make(&zone(), Apex::Plain, &wanted, &after);
        prop_assert_eq!(again.changes, []);
    }
}
