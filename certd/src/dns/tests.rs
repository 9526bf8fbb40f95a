use std::collections::HashMap;

use model::Host;
use model::domain::Witness;

use super::*;

const OURS: &str = "203.0.113.7";

/// Scripted answers; what was not scripted does not exist.
#[derive(Debug, Default)]
struct Script(HashMap<(String, Kind), Result<Vec<Value>, LookupError>>);

#[async_trait]
impl Lookup for Script {
    async fn records(&self, name: &str, kind: Kind) -> Result<Vec<Value>, LookupError> {
        match self.0.get(&(name.to_owned(), kind)) {
            Some(Err(LookupError::Timeout)) => std::future::pending().await,
            Some(answer) => answer.clone(),
            None => Ok(Vec::new()),
        }
    }
}

impl Script {
    fn with(mut self, name: &str, kind: Kind, answer: Result<Vec<Value>, LookupError>) -> Self {
        self.0.insert((name.to_owned(), kind), answer);
        self
    }

    fn alias(self, name: &str, to: &str) -> Self {
        self.with(name, Kind::Cname, Ok(vec![Value::Alias(to.to_owned())]))
    }

    fn a(self, addresses: &[&str]) -> Self {
        let values = addresses.iter().map(|text| Value::Address(text.parse().unwrap())).collect();
        self.with("shop.example.com", Kind::A, Ok(values))
    }

    fn aaaa(self, address: &str) -> Self {
        self.with("shop.example.com", Kind::Aaaa, Ok(vec![Value::Address(address.parse().unwrap())]))
    }

    fn proof(self, text: &str) -> Self {
        self.with("_stoa.shop.example.com", Kind::Txt, Ok(vec![Value::Text(text.to_owned())]))
    }

    fn failing(self, kind: Kind) -> Self {
        let error = Err(LookupError::Failure("Server Failure".to_owned()));
        let name = if kind == Kind::Txt { "_stoa.shop.example.com" } else { "shop.example.com" };
        self.with(name, kind, error)
    }

    async fn judged(&self) -> (Claim, Routing) {
        judge(&observe(self, &target()).await, &target())
    }
}

fn target() -> Target {
    Target {
        host: "shop.example.com".parse().unwrap(),
        cname: Host::parse("d-1.cname.apps.test").unwrap(),
        proof: "stoa-proof-1".to_owned(),
        addresses: vec![OURS.parse().unwrap(), "2001:db8::7".parse().unwrap()],
    }
}

fn script() -> Script {
    Script::default()
}

fn elsewhere(found: &str) -> Routing {
    Routing::Elsewhere { found: found.to_owned() }
}

#[tokio::test]
async fn no_record_at_all_is_absent() {
    assert_eq!(script().judged().await, (Claim::Unproved, Routing::Absent));
}

#[tokio::test]
async fn the_unique_alias_proves_claim_and_way() {
    let direct = script().alias("shop.example.com", "d-1.cname.apps.test");
    assert_eq!(direct.judged().await, (Claim::Proved, Routing::Here));
    let chained =
        script().alias("shop.example.com", "www.example.com").alias("www.example.com", "d-1.cname.apps.test");
    assert_eq!(chained.judged().await, (Claim::Proved, Routing::Here));
}

#[tokio::test]
async fn the_unique_alias_counts_whatever_addresses_or_failures_come_with_it() {
    let invented = script().alias("shop.example.com", "d-1.cname.apps.test").a(&["127.0.0.1"]);
    assert_eq!(invented.judged().await, (Claim::Proved, Routing::Here));
    let failing =
        script().alias("shop.example.com", "d-1.cname.apps.test").failing(Kind::A).failing(Kind::Txt);
    assert_eq!(failing.judged().await, (Claim::Proved, Routing::Here));
    let target_circle = script()
        .alias("shop.example.com", "d-1.cname.apps.test")
        .alias("d-1.cname.apps.test", "shop.example.com");
    assert_eq!(target_circle.judged().await, (Claim::Proved, Routing::Here));
}

#[tokio::test]
async fn another_domains_alias_proves_nothing() {
    let other = script().alias("shop.example.com", "d-2.cname.apps.test").a(&[OURS]);
    assert_eq!(other.judged().await, (Claim::Unproved, elsewhere("CNAME d-2.cname.apps.test")));
    let below = script().alias("shop.example.com", "x.d-1.cname.apps.test");
    assert_eq!(below.judged().await, (Claim::Unproved, elsewhere("CNAME x.d-1.cname.apps.test")));
}

#[tokio::test]
async fn our_addresses_are_a_way_but_no_proof() {
    assert_eq!(script().a(&[OURS]).judged().await, (Claim::Unproved, Routing::Here));
    let proved = script().a(&[OURS]).aaaa("2001:db8::7").proof("stoa-proof-1");
    assert_eq!(proved.judged().await, (Claim::Proved, Routing::Here));
}

#[tokio::test]
async fn one_foreign_address_among_ours_is_left_over() {
    let partial = |found: &str| Routing::Partial { found: found.to_owned() };
    let mixed = script().a(&[OURS, "192.0.2.1"]).proof("stoa-proof-1");
    assert_eq!(mixed.judged().await, (Claim::Proved, partial("A 192.0.2.1")));
    let left_over = script().a(&[OURS]).aaaa("2001:db8::dead");
    assert_eq!(left_over.judged().await, (Claim::Unproved, partial("AAAA 2001:db8::dead")));
}

#[tokio::test]
async fn the_text_alone_proves_the_claim() {
    assert_eq!(script().proof("stoa-proof-1").judged().await, (Claim::Proved, Routing::Absent));
    assert_eq!(script().proof(" \"stoa-proof-1\" ").judged().await.0, Claim::Proved);
    for wrong in ["stoa-proof-2", "stoa-proof-1x", "STOA-PROOF-1", ""] {
        assert_eq!(script().proof(wrong).judged().await.0, Claim::Unproved, "{wrong}");
    }
}

#[tokio::test]
async fn an_alias_that_ends_at_our_addresses_needs_the_text() {
    let way = || script().alias("shop.example.com", "example.com").a(&[OURS]);
    assert_eq!(way().judged().await, (Claim::Unproved, elsewhere("CNAME example.com")));
    assert_eq!(way().proof("stoa-proof-1").judged().await, (Claim::Proved, Routing::Here));
}

#[tokio::test]
async fn a_dangling_alias_is_named() {
    let dangling = script().alias("shop.example.com", "gone.example.net");
    assert_eq!(dangling.judged().await.1, elsewhere("CNAME gone.example.net"));
    assert_eq!(dangling.failing(Kind::A).judged().await.1, elsewhere("CNAME gone.example.net"));
}

#[tokio::test]
async fn failing_servers_are_broken_not_absent() {
    let reason = "the name servers answer with a failure: Server Failure";
    for kind in [Kind::Cname, Kind::A, Kind::Aaaa] {
        let broken = script().a(&[OURS]).failing(kind);
        assert_eq!(broken.judged().await.1, Routing::Broken { reason: reason.to_owned() }, "{kind:?}");
    }
}

#[tokio::test]
async fn a_failing_text_lookup_does_not_break_the_way() {
    assert_eq!(script().a(&[OURS]).failing(Kind::Txt).judged().await, (Claim::Unproved, Routing::Here));
}

#[tokio::test(start_paused = true)]
async fn servers_that_hang_are_given_up_after_the_bound() {
    let hanging = script()
        .with("shop.example.com", Kind::Cname, Err(LookupError::Timeout))
        .with("shop.example.com", Kind::A, Err(LookupError::Timeout))
        .proof("stoa-proof-1");
    let start = Instant::now();
    let (claim, routing) = hanging.judged().await;
    assert_eq!(start.elapsed(), TIMEOUT);
    assert_eq!(claim, Claim::Proved);
    assert_eq!(routing, Routing::Broken { reason: "the name servers do not answer".to_owned() });
}

#[tokio::test]
async fn aliases_in_a_circle_end() {
    let circle =
        script().alias("shop.example.com", "a.example.com").alias("a.example.com", "shop.example.com");
    let reason = "the aliases of `shop.example.com` lead in a circle".to_owned();
    assert_eq!(circle.judged().await.1, Routing::Broken { reason });
}

#[tokio::test]
async fn ten_aliases_are_followed_and_no_more() {
    let chain = |hops: usize| {
        let name = |at| if at == 0 { "shop.example.com".to_owned() } else { format!("h{at}.example.com") };
        let script = (0..hops).fold(script(), |script, at| script.alias(&name(at), &name(at + 1)));
        script.alias(&name(hops), "d-1.cname.apps.test")
    };
    assert_eq!(chain(MAX_HOPS - 1).judged().await.1, Routing::Here);
    let reason = "`shop.example.com` has more than 10 aliases one after the other".to_owned();
    assert_eq!(chain(MAX_HOPS).judged().await.1, Routing::Broken { reason });
}

#[tokio::test]
async fn names_of_our_own_networks_are_told_to_the_operator_only() {
    let own = Value::Address("10.1.2.3".parse().unwrap());
    let server = Value::Server("ns1.example.com".to_owned());
    let script = script()
        .with("example.com", Kind::Ns, Ok(vec![server]))
        .with("ns1.example.com", Kind::A, Ok(vec![own.clone()]))
        .with("payroll.example.com", Kind::A, Ok(vec![own]));
    let inspector = Inspector::new(std::sync::Arc::new(script), Providers::built_in().unwrap());
    let host = Host::parse("payroll.example.com").unwrap();
    let stranger = inspector.inspect(&host, Witness::Servers).await;
    assert_eq!((stranger.records, stranger.servers, stranger.zone), (Vec::new(), Vec::new(), None));
    assert_eq!(stranger.unanswered.len(), 7);
    let operator = inspector.inspect(&host, Witness::Resolver).await;
    assert_eq!(operator.records[0].value, "10.1.2.3");
    assert_eq!(operator.servers, ["ns1.example.com"]);
}

/// Servers of `example.com`: the first two are dead, the third has a text at any name; a resolver that fails.
#[derive(Debug, Default)]
struct Dying {
    /// How often the resolver failed at checked questions.
    failures: std::sync::atomic::AtomicUsize,
    /// How often it is going to.
    last: usize,
}

#[async_trait]
impl Lookup for Dying {
    async fn records(&self, name: &str, kind: Kind) -> Result<Vec<Value>, LookupError> {
        let server = |number: u8| Value::Server(format!("ns{number}.example.net"));
        match (name, kind) {
            ("example.com", Kind::Ns) => Ok((1..=3).map(server).collect()),
            ("ns1.example.net", Kind::A) => Ok(vec![Value::Address("192.0.2.1".parse().unwrap())]),
            ("ns2.example.net", Kind::A) => Ok(vec![Value::Address("192.0.2.2".parse().unwrap())]),
            ("ns3.example.net", Kind::Aaaa) => Ok(vec![Value::Address("2001:db8::3".parse().unwrap())]),
            _ => Ok(Vec::new()),
        }
    }

    async fn ask(&self, server: IpAddr, _: &str, _: Kind) -> Result<Reply, LookupError> {
        if server.is_ipv4() {
            return std::future::pending().await;
        }
        let values = vec![Value::Text("here".to_owned())];
        Ok(Reply { values, authoritative: true, ..Reply::default() })
    }

    async fn held(&self, _: &str, _: Kind, signatures: Signatures) -> Result<Reply, LookupError> {
        let failures = self.failures.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match signatures {
            Signatures::Checked if failures < self.last => {
                Err(LookupError::Failure("Server Failure".to_owned()))
            }
            _ => Ok(Reply::default()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dead_servers_do_not_use_a_look_up() {
    let begun = Instant::now();
    let lookup = Dying::default();
    let found = authority::definitive(&lookup, "shop.example.com", Kind::Txt, begun + TIMEOUT).await;
    assert_eq!(found, Ok(vec![Value::Text("here".to_owned())]));
    assert_eq!(begun.elapsed().as_millis(), 1000, "two head starts");
}

#[tokio::test]
async fn a_resolver_that_fails_in_passing_says_nothing_of_signatures() {
    for (last, unsigned) in [(1, false), (9, true)] {
        let lookup = Dying { last, ..Dying::default() };
        let soon = Instant::now() + TIMEOUT;
        assert_eq!(authority::is_unsigned(&lookup, "shop.example.com", Kind::A, soon).await, unsigned);
    }
}

#[tokio::test]
async fn what_a_registry_would_keep_is_not_registered() {
    let soon = Instant::now() + TIMEOUT;
    for (registry, name) in [("uk", "shop.co.uk"), ("co.uk", "www.shop.co.uk"), ("com", "example.com")] {
        let script = script().with(registry, Kind::Ns, Ok(vec![Value::Server("ns.nic.test".to_owned())]));
        let zone = authority::find(&script, name, soon).await.unwrap().unwrap();
        assert!(zone.servers.is_empty(), "{registry}: {zone:?}");
        assert_eq!(zone.name, name.trim_start_matches("www."));
    }
    // Of the private part of the list: somebody's zone.
    let script = script().with("github.io", Kind::Ns, Ok(vec![Value::Server("ns.github.test".to_owned())]));
    let zone = authority::find(&script, "me.github.io", soon).await.unwrap().unwrap();
    assert_eq!((zone.name.as_str(), zone.servers.len()), ("github.io", 1));
}
