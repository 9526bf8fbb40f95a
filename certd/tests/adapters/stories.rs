//! What every adapter promises.

use certd::adapters::{Applied, Change, Content, Fault, Plan, Record};
use futures_util::future::join_all;

use super::servers::Server;
use super::{address, alias, name, text};

fn wanted() -> Vec<Record> {
    let rule = Content::Caa { flags: 0, tag: "issue".to_owned(), value: "letsencrypt.org".to_owned() };
    vec![
        alias("www.example.com", "d1.edge.test"),
        alias("blog.example.com", "d2.edge.test"),
        alias("new.example.com", "d3.edge.test"),
        address("example.com", [192, 0, 2, 80]),
        address("example.com", [192, 0, 2, 81]),
        text("_stoa.www.example.com", "stoa-proof=abc\"def"),
        Record::new(name("example.com"), 60, rule),
    ]
}

fn told(plan: &Plan) -> Vec<String> {
    plan.changes.iter().map(ToString::to_string).collect()
}

/// What no preview may touch, in whatever way a provider tells it.
fn kept(line: &&String) -> bool {
    let parts = ["MX", "spf1", "somebody", "NS", "mail", "other-ca", "wild"];
    parts.iter().any(|part| line.contains(part))
        && !line.contains("letsencrypt")
        && !line.contains("stoa-proof")
}

pub(crate) async fn applied_and_undone(server: &Server) {
    let before = server.records().await;
    let plan = server.zone.preview(&wanted()).await.unwrap();
    assert_eq!(plan.obstacles, []);
    let told = told(&plan);
    assert_eq!(told.len(), 9, "{told:?}");
    for line in [
        "replace blog.example.com CNAME old.hosting.example by CNAME d2.edge.test",
        "replace example.com A 192.0.2.7 by A 192.0.2.80, A 192.0.2.81",
        "remove example.com AAAA 2001:db8::7",
        "add new.example.com CNAME d3.edge.test",
        "remove www.example.com AAAA 2001:db8::7",
        "add www.example.com CNAME d1.edge.test",
        "add _stoa.www.example.com TXT \"stoa-proof=abc\\\"def\"",
        "add example.com CAA 0 issue \"letsencrypt.org\"",
    ] {
        assert!(told.iter().any(|there| there == line), "`{line}` is not in {told:?}");
    }
    assert!(plan.untouched.iter().any(|record| record.to_string().contains("spf1")), "{:?}", plan.untouched);
    assert_eq!(server.records().await, before, "a preview changes nothing");

    let applied = server.zone.apply(&plan).await.unwrap();
    let after = server.records().await;
    assert_ne!(after, before);
    assert_eq!(server.zone.preview(&wanted()).await.unwrap().changes, [], "all of it is there");
    for line in
        before.iter().filter(kept).filter(|line| !line.contains("somebody") && !line.contains("other-ca"))
    {
        assert!(after.contains(line), "`{line}` is gone");
    }
    let mentions = |part: &str| after.iter().filter(|line| line.contains(part)).count();
    assert_eq!((mentions("somebody"), mentions("other-ca")), (1, 1), "{after:?}");

    let stored: Applied = serde_json::from_str(&serde_json::to_string(&applied).unwrap()).unwrap();
    assert_eq!(server.zone.undo(&stored).await.unwrap(), []);
    assert_eq!(server.records().await, before);
    assert_eq!(server.zone.undo(&stored).await.unwrap(), [], "a second time does no harm");
    assert_eq!(server.records().await, before);
}

pub(crate) async fn obstacles(server: &Server) {
    let before = server.records().await;
    let cases = [
        (alias("shop.example.com", "edge.test"), "`shop.example.com` has MX"),
        (text("blog.example.com", "proof"), "`blog.example.com` is an alias (CNAME old.hosting.example)"),
        (address("a.sub.example.com", [192, 0, 2, 80]), "`sub.example.com` is a zone of its own"),
        (address("example.net", [192, 0, 2, 80]), "`example.net` does not lie in this zone"),
    ];
    for (wanted, said) in cases {
        let fine = address("new.example.com", [192, 0, 2, 80]);
        let plan = server.zone.preview(&[wanted, fine]).await.unwrap();
        let obstacle = plan.obstacles.first().map(ToString::to_string).unwrap_or_default();
        assert!(obstacle.starts_with(said), "{obstacle}");
        let refused = server.zone.apply(&plan).await.unwrap_err();
        assert!(matches!(refused.error.fault, Fault::Blocked(_)), "{refused}");
        assert_eq!(refused.remains, []);
    }
    assert_eq!(server.records().await, before);
}

/// What somebody else does meanwhile.
async fn meanwhile(server: &Server, wanted: &[Record]) {
    let plan = server.zone.preview(wanted).await.unwrap();
    server.zone.exchange(&plan.changes).await.unwrap();
}

pub(crate) async fn changed_since_preview(server: &Server) {
    let plan = server.zone.preview(&wanted()).await.unwrap();
    meanwhile(server, &[address("www.example.com", [192, 0, 2, 99])]).await;
    let before = server.records().await;
    let refused = server.zone.apply(&plan).await.unwrap_err();
    assert!(matches!(refused.error.fault, Fault::Changed { .. }), "{refused}");
    let said = "the zone `example.com` was changed meanwhile (";
    assert!(refused.to_string().starts_with(said), "{refused}");
    assert_eq!(refused.remains, []);
    assert_eq!(server.records().await, before);

    // Where the protocol can say so, the change itself is refused, not only the look before it.
    let plan = server.zone.preview(&[alias("new.example.com", "edge.test")]).await.unwrap();
    meanwhile(server, &[address("new.example.com", [192, 0, 2, 99])]).await;
    let before = server.records().await;
    server.zone.exchange(&plan.changes).await.unwrap_err();
    assert_eq!(server.records().await, before);
}

pub(crate) async fn changed_since_apply(server: &Server) {
    let before = server.records().await;
    let plan = server.zone.preview(&wanted()).await.unwrap();
    let applied = server.zone.apply(&plan).await.unwrap();
    let theirs = text("_stoa.www.example.com", "theirs");
    meanwhile(server, &[alias("www.example.com", "elsewhere.test"), theirs]).await;
    let left = server.zone.undo(&applied).await.unwrap();
    assert!(!left.is_empty());
    assert!(left.iter().all(|left| left.change.name == name("www.example.com")), "{left:?}");
    let after = server.records().await;
    let mentions = |part: &str| after.iter().filter(|line| line.contains(part)).count();
    assert_eq!(
        (mentions("elsewhere.test"), mentions("theirs"), mentions("stoa-proof")),
        (1, 1, 0),
        "{after:?}"
    );
    let others = |lines: &[String]| -> Vec<String> {
        lines
            .iter()
            .filter(|line| !line.contains("www.") && !line.contains(r#""www""#) && !line.contains("_stoa"))
            .cloned()
            .collect()
    };
    assert_eq!(others(&after), others(&before));
}

pub(crate) async fn texts(server: &Server) {
    let before = server.records().await;
    let place = name("_acme-challenge.apps.example.com");
    let beside = name("_stoa.www.example.com");
    let values: Vec<String> = (0..4).map(|number| format!("value-{number}-of-a-challenge")).collect();
    let appended = join_all(values.iter().map(|value| server.zone.append_text(&place, value, 60))).await;
    appended.into_iter().collect::<Result<Vec<()>, _>>().unwrap();
    server.zone.append_text(&place, &values[0], 60).await.unwrap();
    server.zone.append_text(&beside, &values[0], 60).await.unwrap();
    let there = server.zone.records(std::slice::from_ref(&place)).await.unwrap();
    let has = |value: &String| there.iter().any(|record| record.content == Content::Txt(value.clone()));
    assert!(there.len() == 4 && values.iter().all(has), "{there:?}");

    server.zone.remove_text(&place, &values[1]).await.unwrap();
    server.zone.remove_text(&place, &values[1]).await.unwrap();
    assert_eq!(server.zone.records(std::slice::from_ref(&place)).await.unwrap().len(), 3);
    server.zone.remove_text(&beside, &values[0]).await.unwrap();
    let removed = join_all(values.iter().map(|value| server.zone.remove_text(&place, value))).await;
    removed.into_iter().collect::<Result<Vec<()>, _>>().unwrap();
    assert_eq!(server.records().await, before);
}

pub(crate) async fn wrong_credential(server: &Server) {
    let before = server.records().await;
    let error = server.wrong.preview(&wanted()).await.unwrap_err();
    assert!(matches!(error.fault, Fault::Credential { .. }), "{error:?}");
    let said = error.to_string();
    let provider = error.provider.to_string();
    assert!(
        said.starts_with(&format!("{provider} refuses the ")) && said.contains("`example.com`"),
        "{said}"
    );
    for printed in [said, format!("{error:?}"), format!("{:?}", server.wrong)] {
        assert!(!printed.contains("hunter2"), "{printed}");
    }

    let plan = server.zone.preview(&wanted()).await.unwrap();
    let applied = server.zone.apply(&plan).await.unwrap();
    let stopped = server.wrong.undo(&applied).await.unwrap_err();
    assert_eq!(stopped.remains, applied.changes);
    let first: &Change = &applied.changes[0];
    assert!(stopped.to_string().contains(&first.to_string()), "{stopped}");
    assert_eq!(server.zone.undo(&applied).await.unwrap(), []);
    assert_eq!(server.records().await, before);
}

pub(crate) async fn missing_zone(server: &Server) {
    let error = server.missing.preview(&[alias("www.example.org", "edge.test")]).await.unwrap_err();
    assert!(matches!(error.fault, Fault::ZoneMissing), "{error}");
    let said = error.to_string();
    assert!(said.contains("has no zone `example.org` for this "), "{said}");
}
