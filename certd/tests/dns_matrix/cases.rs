//! The table: what a zone has, and what its owner is told.

use model::domain::{DomainStatus, RecordKind};

pub(super) const FIRST: &str = "192.0.2.53";
pub(super) const SECOND: &str = "192.0.2.54";
pub(super) const REGISTRY: &str = "192.0.2.55";
pub(super) const SILENT: &str = "192.0.2.56";
pub(super) const FAILING: &str = "192.0.2.57";

/// Which servers a zone has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Servers {
    /// The first.
    First,
    /// The first, and the second with a copy of its own.
    Both,
    /// The second alone: what stands on the first is seen by nobody.
    Second,
    /// The first, and one that never answers.
    OneSilent,
    /// The first, and one that does not know the zone.
    OneRefusing,
    /// One that never answers.
    Silent,
    /// One that does not know the zone.
    Refusing,
    /// One that answers every question with a failure.
    Failing,
    /// The first, which the registry knows by its provider's name and the zone by one of its own.
    Vanity,
    /// The same the other way round.
    VanityAtRegistry,
    /// The name was never bought.
    None,
}

/// One case; the zone is `<name>.test`.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) name: &'static str,
    /// The label before the zone; empty: the zone itself.
    label: &'static str,
    records: String,
    /// What the second server has.
    copy: Option<String>,
    pub(super) servers: Servers,
    /// Names of its servers outside the zone; empty: in it.
    named: &'static [&'static str],
    pub(super) status: DomainStatus,
    /// How the sentence begins.
    pub(super) text: &'static str,
    pub(super) record: Option<RecordKind>,
}

const HEAD: &str = "$TTL 300\n@ SOA ns1 hostmaster 1 3600 600 86400 30\n";

impl Case {
    pub(super) fn zone(&self) -> String {
        format!("{}.test", self.name)
    }

    pub(super) fn host(&self) -> String {
        if self.label.is_empty() { self.zone() } else { format!("{}.{}", self.label, self.zone()) }
    }

    /// The zone on the first server, and zones below it.
    pub(super) fn zones(&self) -> Vec<(String, String)> {
        let mut zones = vec![(self.zone(), self.file(&self.records, self.servers))];
        if self.name == "below" {
            let own = format!("{HEAD}@ NS ns1\nns1 A {FIRST}\n@ A 203.0.113.7\n_stoa TXT \"stoa-proof-1\"\n");
            zones.push((self.host(), own));
        }
        zones
    }

    /// The zone on the second server.
    pub(super) fn copy(&self) -> Option<(String, String)> {
        let records = self.copy.as_ref()?;
        Some((self.zone(), self.file(records, self.servers)))
    }

    fn file(&self, records: &str, servers: Servers) -> String {
        let mut text = format!("{HEAD}{}{records}\n", self.delegation("@"));
        if servers == Servers::Second {
            // Copied with everything, also with the names of the servers that it was copied from.
            text = format!("{HEAD}@ NS ns1.old-host.net.\n{records}\n");
        }
        match servers {
            Servers::Vanity => text = format!("{HEAD}@ NS ns1\nns1 A {FIRST}\n{records}\n"),
            Servers::VanityAtRegistry => {
                text = format!("{HEAD}@ NS ns-170.awsdns-21.net.\nns1 A {FIRST}\n{records}\n");
            }
            _ => {}
        }
        text
    }

    /// Who keeps the zone, as told by the registry and by the zone.
    fn delegation(&self, at: &str) -> String {
        if !self.named.is_empty() {
            return self.named.iter().map(|name| format!("{at} NS {name}\n")).collect();
        }
        let addresses: &[&str] = match self.servers {
            Servers::First | Servers::Vanity | Servers::VanityAtRegistry => &[FIRST],
            Servers::Both => &[FIRST, SECOND],
            Servers::OneRefusing => &[FIRST, SECOND],
            Servers::Second | Servers::Refusing => &[SECOND],
            Servers::OneSilent => &[FIRST, SILENT],
            Servers::Silent => &[SILENT],
            Servers::Failing => &[FAILING],
            Servers::None => &[],
        };
        let below = if at == "@" { String::new() } else { format!(".{at}") };
        let name = |number: usize| format!("ns{}{below}", number + 1);
        let servers = addresses.iter().enumerate();
        servers.map(|(number, address)| format!("{at} NS {0}\n{0} A {address}\n", name(number))).collect()
    }

    fn at(self, label: &'static str) -> Self {
        Self { label, ..self }
    }

    fn on(self, servers: Servers) -> Self {
        Self { servers, ..self }
    }

    fn second(self, records: &str) -> Self {
        Self { copy: Some(records.to_owned()), ..self }
    }

    fn by(self, named: &'static [&'static str]) -> Self {
        Self { named, ..self }
    }
}

/// The registry's zone.
pub(super) fn registry(cases: &[Case]) -> String {
    let delegations = cases.iter().map(|case| case.delegation(case.name));
    format!("{HEAD}@ NS ns1\nns1 A {REGISTRY}\n{}", delegations.collect::<String>())
}

/// Zones of others that the cases lead into.
pub(super) fn others() -> impl Iterator<Item = (String, String)> {
    let own = |records: &str| format!("{HEAD}@ NS ns1\nns1 A {FIRST}\n{records}");
    let server = |name: &str| format!("{HEAD}@ NS {name}\n{name} A {FIRST}\n");
    [
        ("hops.net", own("hop CNAME d1.cname.apps.test.\np TXT \"stoa-proof-1\"\nt A 203.0.113.7\nt CAA 0 issue \"pki.goog\"\n\
            ours A 203.0.113.7\n")),
        ("ns.cloudflare.com", server("ada")),
        ("domaincontrol.com", server("ns51")),
        ("awsdns-21.net", server("ns-170")),
        ("old-host.net", server("ns1")),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into_iter()
}

/// A case on the first server, for the host `shop`.
fn case(
    name: &'static str,
    records: &str,
    status: DomainStatus,
    text: &'static str,
    record: impl Into<Option<RecordKind>>,
) -> Case {
    Case {
        name,
        label: "shop",
        records: records.to_owned(),
        copy: None,
        servers: Servers::First,
        named: &[],
        status,
        text,
        record: record.into(),
    }
}

fn issuing(name: &'static str, records: &str) -> Case {
    case(name, records, DomainStatus::Issuing, "Found it. Your padlock is being made", None)
}

fn add(name: &'static str, records: &str) -> Case {
    case(name, records, DomainStatus::NeedsDns, "Add the record below", RecordKind::Cname)
}

fn prove(name: &'static str, records: &str) -> Case {
    case(name, records, DomainStatus::NeedsDns, "Your domain points here. Add", RecordKind::Txt)
}

fn conflict(name: &'static str, records: &str, text: &'static str) -> Case {
    case(name, records, DomainStatus::Conflict, text, RecordKind::Cname)
}

fn broken(name: &'static str, text: &'static str) -> Case {
    case(name, OURS, DomainStatus::DnsBroken, text, None)
}

fn forbidden(name: &'static str, records: &str, text: &'static str) -> Case {
    let records = format!("{OURS}{records}");
    case(name, &records, DomainStatus::CaaBlock, text, RecordKind::Caa)
}

fn permitted(name: &'static str, records: &str) -> Case {
    issuing(name, &format!("{OURS}{records}"))
}

const OURS: &str = "shop CNAME d1.cname.apps.test.\n";
const OLD: &str = "shop A 192.0.2.1\n";
const PROVED: &str = "shop A 203.0.113.7\n_stoa.shop TXT \"stoa-proof-1\"\n";

pub(super) fn all() -> Vec<Case> {
    let groups =
        [aliases(), addresses(), proofs(), places(), wildcards(), permissions(), servers(), providers()];
    groups.into_iter().flatten().collect()
}

fn aliases() -> Vec<Case> {
    let chain = |hops: usize| -> String {
        let name = |at: usize| if at == 0 { "shop".to_owned() } else { format!("h{at}") };
        let last = format!("{} CNAME d1.cname.apps.test.\n", name(hops - 1));
        (1..hops).map(|at| format!("{} CNAME {}\n", name(at - 1), name(at))).collect::<String>() + &last
    };
    let circle = |name, records| {
        let text = "The records of this domain lead in a circle";
        case(name, records, DomainStatus::DnsBroken, text, RecordKind::Cname)
    };
    vec![
        issuing("alias", OURS),
        issuing("alias-upper-case", "SHOP CNAME D1.CNAME.Apps.TEST.\n"),
        issuing("alias-in-two-hops", "shop CNAME www\nwww CNAME d1.cname.apps.test.\n"),
        issuing("alias-through-another-zone", "shop CNAME hop.hops.net.\n"),
        issuing("alias-of-ten-hops", &chain(10)),
        circle("alias-of-eleven-hops", &chain(11)),
        circle("circle", "shop CNAME a\na CNAME shop\n"),
        circle("circle-of-others", "shop CNAME a\na CNAME b\nb CNAME a\n"),
        circle("circle-of-one", "shop CNAME shop\n"),
        conflict(
            "alias-of-nothing",
            "shop CNAME gone.hops.net.\n",
            "An old record is in the way. Replace \"CNAME gone.hops.net\"",
        ),
        conflict(
            "alias-of-another-domain",
            "shop CNAME d2.cname.apps.test.\n",
            "An old record is in the way. Replace \"CNAME d2.cname.apps.test\"",
        ),
        conflict("alias-below-ours", "shop CNAME x.d1.cname.apps.test.\n", "An old record is in the way"),
        conflict("alias-to-our-address", "shop CNAME ours.hops.net.\n", "An old record is in the way"),
        issuing(
            "alias-to-our-address-proved",
            "shop CNAME ours.hops.net.\n_stoa.shop TXT \"stoa-proof-1\"\n",
        ),
        conflict(
            "value-with-the-domain-behind",
            "shop CNAME d1.cname.apps.test\n",
            "The record's value has your domain added",
        ),
    ]
}

fn addresses() -> Vec<Case> {
    vec![
        conflict("old-a", OLD, "An old record is in the way. Replace \"A 192.0.2.1\""),
        conflict(
            "old-aaaa",
            "shop AAAA 2001:db8::1\n",
            "An old record is in the way. Replace \"AAAA 2001:db8::1\"",
        ),
        conflict(
            "old-both",
            "shop A 192.0.2.1\nshop AAAA 2001:db8::1\n",
            "An old record is in the way. Replace \"A 192.0.2.1\"",
        ),
        conflict(
            "old-two",
            "shop A 192.0.2.1\nshop A 192.0.2.2\n",
            "An old record is in the way. Replace \"A 192.0.2.",
        ),
        case(
            "stray-aaaa",
            &format!("{PROVED}shop AAAA 2001:db8::1\n"),
            DomainStatus::Conflict,
            "One record is right, but an old one is left over. Delete \"AAAA 2001:db8::1\"",
            None,
        ),
        case(
            "stray-a",
            &format!("{PROVED}shop A 192.0.2.1\n"),
            DomainStatus::Conflict,
            "One record is right, but an old one is left over. Delete \"A 192.0.2.1\"",
            None,
        ),
        case(
            "stray-aaaa-unproved",
            "shop A 203.0.113.7\nshop AAAA 2001:db8::1\n",
            DomainStatus::Conflict,
            "One record is right",
            None,
        ),
        issuing("our-a", PROVED),
        issuing("our-aaaa", "shop AAAA 2001:db8::7\n_stoa.shop TXT \"stoa-proof-1\"\n"),
        issuing("our-both", &format!("{PROVED}shop AAAA 2001:db8::7\n")),
    ]
}

fn proofs() -> Vec<Case> {
    let proof = |text: &str| format!("shop A 203.0.113.7\n_stoa.shop TXT {text}\n");
    let many: String = (0..40).map(|at| format!("_stoa.shop TXT \"v{at}-{}\"\n", "x".repeat(60))).collect();
    vec![
        prove("no-proof", "shop A 203.0.113.7\n"),
        prove("old-proof", &proof("\"stoa-proof-0\"")),
        prove("proof-in-other-case", &proof("\"STOA-PROOF-1\"")),
        prove("proof-with-a-tail", &proof("\"stoa-proof-1x\"")),
        prove("proof-elsewhere", "shop A 203.0.113.7\nshop TXT \"stoa-proof-1\"\n"),
        add("proof-alone", "_stoa.shop TXT \"stoa-proof-1\"\n"),
        issuing("proof-in-quotes", &proof("\"\\\"stoa-proof-1\\\"\"")),
        issuing("proof-in-two-parts", &proof("\"stoa-\" \"proof-1\"")),
        issuing("proof-among-others", &format!("{}_stoa.shop TXT \"other\"\n", proof("\"stoa-proof-1\""))),
        issuing("proof-in-a-cut-answer", &format!("{}{many}", proof("\"stoa-proof-1\""))),
        issuing("proof-by-alias", "shop A 203.0.113.7\n_stoa.shop CNAME p.hops.net.\n"),
    ]
}

fn places() -> Vec<Case> {
    let itself = |case: Case| Case { record: Some(RecordKind::A), ..case.at("") };
    let twice = "The record is there, but its name has your domain twice. Enter \"shop\"";
    vec![
        add("nothing", ""),
        add("nothing-but-names-below", "a.shop A 192.0.2.1\n"),
        add("nothing-but-mail", "shop MX 10 mail\n"),
        issuing("wildcard", "* CNAME d1.cname.apps.test.\n"),
        conflict("old-wildcard", "* A 192.0.2.1\n", "An old record is in the way. Replace \"A 192.0.2.1\""),
        issuing("beside-an-old-wildcard", &format!("* A 192.0.2.1\n{OURS}")),
        issuing("deep", "a.b.shop CNAME d1.cname.apps.test.\n").at("a.b.shop"),
        issuing("beyond-ascii", "xn--bcher-kva CNAME d1.cname.apps.test.\n").at("xn--bcher-kva"),
        case(
            "name-twice",
            "shop.name-twice.test CNAME d1.cname.apps.test.\n",
            DomainStatus::NeedsDns,
            twice,
            RecordKind::Cname,
        ),
        case(
            "name-twice-a",
            "shop.name-twice-a.test A 203.0.113.7\n",
            DomainStatus::NeedsDns,
            twice,
            RecordKind::Cname,
        ),
        itself(add("itself-nothing", "@ MX 10 mail\n")),
        itself(conflict(
            "itself-old",
            "@ A 192.0.2.1\n@ MX 10 mail\n@ TXT \"v=spf1 -all\"\n",
            "An old record is in the way. Replace \"A 192.0.2.1\"",
        )),
        issuing("itself", "@ A 203.0.113.7\n_stoa TXT \"stoa-proof-1\"\n@ MX 10 mail\n").at(""),
        issuing("below", "shop NS ns1.shop\nns1.shop A 192.0.2.53\n"),
    ]
}

/// Of domains that stand for all names below one.
fn wildcards() -> Vec<Case> {
    let alias = "d1.cname.apps.test.";
    let all = |case: Case| case.at("*");
    vec![
        all(issuing("all", &format!("* CNAME {alias}\nwww A 192.0.2.1\n"))),
        all(issuing("all-in-two-hops", &format!("* CNAME www\nwww CNAME {alias}\n"))),
        all(issuing("all-by-address", "* A 203.0.113.7\n_stoa TXT \"stoa-proof-1\"\n")),
        all(prove("all-unproved", "* A 203.0.113.7\n")),
        all(add("all-of-nothing", "@ A 203.0.113.7\n_stoa TXT \"stoa-proof-1\"\n")),
        all(add("all-but-one-name", &format!("www CNAME {alias}\n@ TXT \"stoa-proof-1\"\n"))),
        all(conflict("all-old", "* A 192.0.2.1\n", "An old record is in the way. Replace \"A 192.0.2.1\"")),
        all(case(
            "all-twice",
            &format!("*.all-twice.test CNAME {alias}\n"),
            DomainStatus::NeedsDns,
            "The record is there, but its name has your domain twice. Enter \"*\"",
            RecordKind::Cname,
        )),
        all(case(
            "all-forbidden",
            &format!("* CNAME {alias}\n@ CAA 0 issue \"letsencrypt.org\"\n@ CAA 0 issuewild \";\"\n"),
            DomainStatus::CaaBlock,
            "Your domain lets only nobody make its padlock",
            RecordKind::Caa,
        )),
    ]
}

fn permissions() -> Vec<Case> {
    let google = "Your domain lets only pki.goog make its padlock";
    let nobody = "Your domain lets only nobody make its padlock";
    let ours = "Your domain lets only letsencrypt.org make its padlock";
    vec![
        permitted("caa-ours", "@ CAA 0 issue \"letsencrypt.org\"\n"),
        permitted("caa-ours-and-others", "@ CAA 0 issue \"pki.goog\"\n@ CAA 0 issue \"letsencrypt.org\"\n"),
        permitted("caa-in-capitals", "@ CAA 0 issue \"LetsEncrypt.ORG\"\n"),
        permitted("caa-iodef", "@ CAA 0 iodef \"mailto:a@example.com\"\n"),
        permitted("caa-wildcards-only", "@ CAA 0 issuewild \"pki.goog\"\n"),
        permitted("caa-by-http", "@ CAA 0 issue \"letsencrypt.org; validationmethods=http-01\"\n"),
        permitted("caa-critical-and-known", "@ CAA 128 issue \"letsencrypt.org\"\n"),
        issuing(
            "caa-nearer",
            &format!("{PROVED}shop CAA 0 issue \"letsencrypt.org\"\n@ CAA 0 issue \"pki.goog\"\n"),
        ),
        forbidden("caa-others", "@ CAA 0 issue \"pki.goog\"\n", google),
        forbidden("caa-nobody", "@ CAA 0 issue \";\"\n", nobody),
        forbidden("caa-by-dns", "@ CAA 0 issue \"letsencrypt.org; validationmethods=dns-01\"\n", ours),
        forbidden(
            "caa-critical-and-unknown",
            "@ CAA 0 issue \"letsencrypt.org\"\n@ CAA 128 future \"x\"\n",
            nobody,
        ),
        case(
            "caa-behind-an-alias",
            "shop CNAME t.hops.net.\n_stoa.shop TXT \"stoa-proof-1\"\n",
            DomainStatus::CaaBlock,
            google,
            RecordKind::Caa,
        ),
    ]
}

fn servers() -> Vec<Case> {
    let spreading = |name, copy: &str| {
        let text = "Found it. Some of your name servers still show the old record, usually for less than";
        case(name, OURS, DomainStatus::Spreading, text, None).on(Servers::Both).second(copy)
    };
    let wrong = "Records made at ns1.old-host.net have no effect";
    vec![
        issuing("two-servers", OURS).on(Servers::Both).second(OURS),
        spreading("late-with-an-old-record", OLD),
        spreading("late-with-nothing", ""),
        conflict("two-servers-both-old", OLD, "An old record is in the way").on(Servers::Both).second(""),
        issuing("one-silent", OURS).on(Servers::OneSilent),
        issuing("one-that-does-not-know-it", OURS).on(Servers::OneRefusing),
        broken("strangers", "The name servers").on(Servers::Refusing),
        broken("silent", "The name servers of").on(Servers::Silent),
        broken("failing", "The name servers of").on(Servers::Failing),
        Case {
            records: PROVED.to_owned(),
            ..broken("forged", "The signatures of shop.forged.test are wrong")
        },
        broken("never-bought", "No name servers are known for never-bought.test").on(Servers::None),
        case("edited-at-the-old-host", OURS, DomainStatus::WrongZone, wrong, RecordKind::Cname)
            .on(Servers::Second)
            .second(""),
    ]
}

fn providers() -> Vec<Case> {
    const CLOUDFLARE: &[&str] = &["ada.ns.cloudflare.com."];
    let proxied = |name, records| {
        let text = "The proxy of Cloudflare hides your record";
        case(name, records, DomainStatus::Proxied, text, RecordKind::Cname).by(CLOUDFLARE)
    };
    let at = |case: Case, text: &'static str| Case { text, ..case };
    vec![
        at(add("at-cloudflare", "").by(CLOUDFLARE), "Add the record below at Cloudflare."),
        at(add("at-cloudflare-itself", "").at("").by(CLOUDFLARE), "Add the record below at Cloudflare."),
        proxied("proxied", "shop A 104.16.1.1\n"),
        proxied("proxied-both", "shop A 172.67.1.1\nshop AAAA 2606:4700::1\n"),
        conflict("at-cloudflare-unproxied", OLD, "An old record is in the way").by(CLOUDFLARE),
        conflict("proxy-of-somebody-else", "shop A 104.16.1.1\n", "An old record is in the way"),
        conflict(
            "at-godaddy",
            OLD,
            "An old record is in the way. Replace \"A 192.0.2.1\" with the record below at GoDaddy",
        )
        .by(&["ns51.domaincontrol.com."]),
        at(add("at-route53", "").by(&["ns-170.awsdns-21.net."]), "Add the record below at Route 53."),
        at(
            prove("at-route53-unproved", "shop A 203.0.113.7\n").by(&["ns-170.awsdns-21.net."]),
            "Your domain points here. Add the record below at Route 53",
        ),
        issuing("vanity-servers", OURS).on(Servers::Vanity).by(&["ns-170.awsdns-21.net."]),
        conflict("vanity-servers-old", OLD, "An old record is in the way")
            .on(Servers::Vanity)
            .by(&["ns-170.awsdns-21.net."]),
        add("vanity-servers-nothing", "").on(Servers::Vanity).by(&["ns-170.awsdns-21.net."]),
        add("vanity-at-the-registry", "").on(Servers::VanityAtRegistry),
        conflict("vanity-at-the-registry-old", OLD, "An old record is in the way")
            .on(Servers::VanityAtRegistry),
    ]
}
