use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, Method};
use model::Host;

use super::*;

fn inspect(engine: &dyn Engine, query: &str) -> Verdict {
    let host = Host::parse("a.apps.localhost").unwrap();
    engine.inspect(&Request {
        method: &Method::GET,
        host: &host,
        path: "/",
        query: Some(query),
        headers: &HeaderMap::new(),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        ja4: None,
    })
}

/// Blocks what `no`, notes what `hm`.
#[derive(Debug)]
struct OneWord;

impl Engine for OneWord {
    fn inspect(&self, request: &Request<'_>) -> Verdict {
        let finding = || Finding { rule: RuleId(1), reason: "a word".into() };
        match request.query {
            Some("no") => Verdict::Block(finding()),
            Some("hm") => Verdict::Log(finding()),
            _ => Verdict::Allow,
        }
    }
}

#[test]
fn without_rules_even_an_attack_passes() {
    for query in ["", "id=1%27%20OR%201=1--", "x=<script>alert(1)</script>", "../../etc/passwd"] {
        assert_eq!(inspect(&NoRules, query), Verdict::Allow);
    }
}

#[test]
fn only_a_block_stops_a_request() {
    assert!(inspect(&OneWord, "yes").passes());
    assert!(inspect(&OneWord, "hm").passes());
    assert!(!inspect(&OneWord, "no").passes());
}

#[test]
fn whatever_a_rule_decided_names_the_rule() {
    assert_eq!(inspect(&OneWord, "yes").finding(), None);
    for query in ["hm", "no"] {
        assert_eq!(
            inspect(&OneWord, query).finding().map(|finding| finding.rule.to_string()),
            Some("1".to_owned())
        );
    }
}
