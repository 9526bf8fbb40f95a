//! Client commands: each speaks HTTP to the admin API and prints what it answers.
//!
//! Deliberately absent: any knowledge of the store. What these commands can do, any program with a key can.

mod connecting;
mod connection;
mod inspection;
mod output;
mod request;
mod watch;

use anyhow::Context as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::command::{
    AppVerb, CaVerb, CertVerb, ClientCaVerb, DomainVerb, KeyVerb, NoticeVerb, Target, TenantVerb, Usage, Verb,
};
use connection::Connection;
use request::Request;

/// Carries out a client command.
///
/// # Errors
/// What is wrong with the arguments, why the API is out of reach, or what it answered.
pub(crate) async fn run(verb: Verb) -> anyhow::Result<()> {
    let verb = match verb {
        Verb::Domain(DomainVerb::Connect(wanted)) => return connecting::run(*wanted).await,
        Verb::Domain(DomainVerb::Watch { domain, target }) => return watch::run(&domain, &target).await,
        other => other,
    };
    let (target, request) = translate(verb)?;
    let answer = Connection::open(&target)?.send(&request).await?;
    output::print(&answer, &request, target.json);
    Ok(())
}

fn translate(verb: Verb) -> anyhow::Result<(Target, Request)> {
    match verb {
        Verb::Tenant(verb) => tenant(verb),
        Verb::App(verb) => app(verb),
        Verb::Domain(verb) => domain(verb),
        Verb::Cert(verb) => certificate(verb),
        Verb::Usage(usage) => Ok(usage_of(usage)),
        Verb::Key(verb) => Ok(key(verb)),
        Verb::Audit { tenant, target } => Ok((
            target,
            Request::get("/v1/audit-events").query("tenant", tenant).columns(&[
                "created_at",
                "actor",
                "action",
                "target",
            ]),
        )),
        Verb::Edge(target) => Ok((
            target,
            Request::get("/v1/platform/edges").columns(&[
                "id",
                "revision",
                "sites",
                "certificates",
                "version",
                "seen_at",
            ]),
        )),
        Verb::Ca(verb) => Ok(authority(verb)),
        Verb::Notice(verb) => Ok(notice(verb)),
        Verb::Up { .. }
        | Verb::Run { .. }
        | Verb::Check(_)
        | Verb::Diff { .. }
        | Verb::Trust(_)
        | Verb::DomainConnect(_)
        | Verb::MasterKey(_)
        | Verb::Store(_)
        | Verb::Doctor(_) => {
            anyhow::bail!("this command does not speak to the API")
        }
    }
}

const TENANT_COLUMNS: [&str; 4] = ["id", "slug", "status", "name"];
const APP_COLUMNS: [&str; 3] = ["id", "name", "hostname"];
const DOMAIN_COLUMNS: [&str; 3] = ["id", "hostname", "status"];
const CERTIFICATE_COLUMNS: [&str; 5] = ["id", "names", "source", "status", "not_after"];
const AUTHORITY_COLUMNS: [&str; 5] =
    ["directory", "state", "failing_since", "waiting_orders", "last_turn_at"];
const NOTICE_COLUMNS: [&str; 4] = ["id", "created_at", "hostname", "text"];
const KEY_COLUMNS: [&str; 5] = ["id", "scopes", "tenant", "name", "last_used"];

fn tenant(verb: TenantVerb) -> anyhow::Result<(Target, Request)> {
    let one = |tenant: &str, rest: &str| format!("/v1/tenants/{tenant}{rest}");
    Ok(match verb {
        TenantVerb::List(target) => (target, Request::get("/v1/tenants").columns(&TENANT_COLUMNS)),
        TenantVerb::Get { tenant, target } => (target, Request::get(one(&tenant, ""))),
        TenantVerb::Create { name, slug, target } => {
            let slug = slug.unwrap_or_else(|| request::slug_of(&name));
            (target, Request::new(Method::POST, "/v1/tenants").body(json!({"name": name, "slug": slug})))
        }
        TenantVerb::Rename { tenant, name, target } => {
            (target, Request::new(Method::PATCH, one(&tenant, "")).body(json!({"name": name})))
        }
        TenantVerb::Delete { tenant, target } => (target, Request::new(Method::DELETE, one(&tenant, ""))),
        TenantVerb::Suspend { tenant, reason, target } => {
            let body = json!({"reason": reason.unwrap_or_default()});
            (target, Request::new(Method::POST, one(&tenant, "/suspend")).body(body))
        }
        TenantVerb::Resume { tenant, target } => {
            (target, Request::new(Method::POST, one(&tenant, "/resume")))
        }
        TenantVerb::Limits { tenant, all: Some(all), visitor: Some(visitor), target, .. } => {
            let body = json!({"tenant": rate(&all)?, "visitor": rate(&visitor)?});
            (target, Request::new(Method::PUT, one(&tenant, "/limits")).body(body))
        }
        TenantVerb::Limits { tenant, default: true, target, .. } => {
            (target, Request::new(Method::PUT, one(&tenant, "/limits")).body(json!({})))
        }
        TenantVerb::Limits { tenant, target, .. } => (target, Request::get(one(&tenant, "/limits"))),
    })
}

fn rate(text: &str) -> anyhow::Result<Value> {
    let wrong = || format!("`{text}` is no rate: write requests a minute and burst, e.g. 3000,200");
    let (per_minute, burst) = text.split_once(',').with_context(wrong)?;
    let per_minute: u32 = per_minute.trim().parse().with_context(wrong)?;
    let burst: u32 = burst.trim().parse().with_context(wrong)?;
    Ok(json!({"requests_per_minute": per_minute, "burst": burst}))
}

fn app(verb: AppVerb) -> anyhow::Result<(Target, Request)> {
    Ok(match verb {
        AppVerb::List { tenant, target } => {
            (target, Request::get(format!("/v1/tenants/{tenant}/apps")).columns(&APP_COLUMNS))
        }
        AppVerb::Get { app, target } => (target, Request::get(format!("/v1/apps/{app}"))),
        AppVerb::Create { tenant, name, backends: urls, target } => {
            let body = json!({"name": name, "backends": backends(&urls)?});
            (target, Request::new(Method::POST, format!("/v1/tenants/{tenant}/apps")).body(body))
        }
        AppVerb::Backends { app, backends: urls, target } => {
            let body = json!({"backends": backends(&urls)?});
            (target, Request::new(Method::PATCH, format!("/v1/apps/{app}")).body(body))
        }
        AppVerb::Settings { app, settings: changes, target } => {
            let body = json!({"settings": settings(&changes)?});
            (target, Request::new(Method::PATCH, format!("/v1/apps/{app}")).body(body))
        }
        AppVerb::Delete { app, target } => (target, Request::new(Method::DELETE, format!("/v1/apps/{app}"))),
    })
}

fn backends(urls: &[String]) -> anyhow::Result<Vec<Value>> {
    urls.iter()
        .map(|text| match text.split_once(',') {
            None => Ok(json!({"url": text})),
            Some((url, weight)) => {
                let weight: u16 = weight
                    .parse()
                    .with_context(|| format!("`{weight}` in `{text}` is no weight: use 0 to 1000"))?;
                Ok(json!({"url": url, "weight": weight}))
            }
        })
        .collect()
}

/// What is no JSON is text; what begins with @ is the text of a file.
fn settings(changes: &[String]) -> anyhow::Result<serde_json::Map<String, Value>> {
    changes
        .iter()
        .map(|text| {
            let wrong = || format!("`{text}` is no setting: write NAME=VALUE, e.g. total_timeout_ms=60000");
            let (name, value) = text.split_once('=').with_context(wrong)?;
            let value = match value.strip_prefix('@') {
                Some(path) => Value::from(
                    std::fs::read_to_string(path).with_context(|| format!("`{path}` cannot be read"))?,
                ),
                None => serde_json::from_str(value).unwrap_or_else(|_| Value::from(value)),
            };
            Ok((name.to_owned(), value))
        })
        .collect()
}

fn domain(verb: DomainVerb) -> anyhow::Result<(Target, Request)> {
    Ok(match verb {
        DomainVerb::List { app, target } => {
            (target, Request::get(format!("/v1/apps/{app}/domains")).columns(&DOMAIN_COLUMNS))
        }
        DomainVerb::Get { domain, target } => (target, Request::get(format!("/v1/domains/{domain}"))),
        DomainVerb::Add { app, hostname, target } => {
            let body = json!({"hostname": hostname});
            (target, Request::new(Method::POST, format!("/v1/apps/{app}/domains")).body(body))
        }
        DomainVerb::Inspect { hostname, target } => {
            (target, Request::get("/v1/domains/inspect").query("host", Some(hostname)))
        }
        DomainVerb::Check { domain, target } => {
            (target, Request::new(Method::POST, format!("/v1/domains/{domain}/check")))
        }
        DomainVerb::Link { domain, target } => {
            (target, Request::new(Method::POST, format!("/v1/domains/{domain}/connect/link")))
        }
        DomainVerb::Connect(_) => anyhow::bail!("this command asks more than once"),
        DomainVerb::Watch { .. } => anyhow::bail!("this command reads a stream"),
        DomainVerb::Transfer { domain, decision, target } => {
            let body = json!({"decision": decision.as_str()});
            (target, Request::new(Method::POST, format!("/v1/domains/{domain}/transfer")).body(body))
        }
        DomainVerb::Delete { domain, target } => {
            (target, Request::new(Method::DELETE, format!("/v1/domains/{domain}")))
        }
        DomainVerb::ClientCa(ClientCaVerb::Set { domain, file, target }) => {
            let body = json!({"pem": read_pem(&file)?});
            (target, Request::new(Method::PUT, format!("/v1/domains/{domain}/client-ca")).body(body))
        }
        DomainVerb::ClientCa(ClientCaVerb::Remove { domain, target }) => {
            (target, Request::new(Method::DELETE, format!("/v1/domains/{domain}/client-ca")))
        }
    })
}

fn read_pem(path: &std::path::Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path)
        .with_context(|| format!("cannot read `{}`: give a readable PEM file", path.display()))
}

fn certificate(verb: CertVerb) -> anyhow::Result<(Target, Request)> {
    Ok(match verb {
        CertVerb::List(target) => (target, Request::get("/v1/certificates").columns(&CERTIFICATE_COLUMNS)),
        CertVerb::Get { certificate, target } => {
            (target, Request::get(format!("/v1/certificates/{certificate}")))
        }
        CertVerb::Upload { app, chain, key, target } => {
            let body = json!({"chain": read_pem(&chain)?, "key": read_pem(&key)?});
            (target, Request::new(Method::POST, format!("/v1/apps/{app}/certificates")).body(body))
        }
        CertVerb::Renew { certificate, target } => {
            (target, Request::new(Method::POST, format!("/v1/certificates/{certificate}/renew")))
        }
        CertVerb::RollBack { certificate, target } => {
            (target, Request::new(Method::POST, format!("/v1/certificates/{certificate}/roll-back")))
        }
    })
}

fn usage_of(usage: Usage) -> (Target, Request) {
    let request = Request::get(format!("/v1/tenants/{}/usage", usage.tenant))
        .query("from", usage.from)
        .query("to", usage.to)
        .query("group_by", usage.group_by);
    (usage.target, request)
}

fn authority(verb: CaVerb) -> (Target, Request) {
    match verb {
        CaVerb::List(target) => (target, Request::get("/v1/platform/ca-budget").columns(&AUTHORITY_COLUMNS)),
        CaVerb::ChangeKey { directory, target } => {
            let body = json!({ "directory": directory });
            (target, Request::new(Method::POST, "/v1/platform/ca-budget/change-key").body(body))
        }
    }
}

fn notice(verb: NoticeVerb) -> (Target, Request) {
    match verb {
        NoticeVerb::List(target) => (target, Request::get("/v1/notices").columns(&NOTICE_COLUMNS)),
        NoticeVerb::Delete { notice, target } => {
            (target, Request::new(Method::DELETE, format!("/v1/notices/{notice}")))
        }
    }
}

fn key(verb: KeyVerb) -> (Target, Request) {
    match verb {
        KeyVerb::List(target) => (target, Request::get("/v1/keys").columns(&KEY_COLUMNS)),
        KeyVerb::Create { scope, tenant, name, target } => {
            let mut body = json!({"scope": scope.as_str()});
            if let (Some(tenant), Some(fields)) = (tenant, body.as_object_mut()) {
                fields.insert("tenant".to_owned(), tenant.into());
            }
            if let (Some(name), Some(fields)) = (name, body.as_object_mut()) {
                fields.insert("name".to_owned(), name.into());
            }
            (target, Request::new(Method::POST, "/v1/keys").body(body))
        }
        KeyVerb::Delete { key, target } => (target, Request::new(Method::DELETE, format!("/v1/keys/{key}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_a_number_null_or_text() {
        let given = ["total_timeout_ms=5000", "health_path=/up?a=b", "slow_start_ms=null"].map(str::to_owned);
        let wanted = json!({"total_timeout_ms": 5000, "health_path": "/up?a=b", "slow_start_ms": null});
        assert_eq!(Value::from(settings(&given).unwrap()), wanted);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "a text\n").unwrap();
        let given = format!("backend_ca_pem=@{}", file.path().display());
        assert_eq!(Value::from(settings(&[given]).unwrap()), json!({"backend_ca_pem": "a text\n"}));
        let error = settings(&["total_timeout_ms".to_owned()]).unwrap_err().to_string();
        assert!(error.starts_with("`total_timeout_ms` is no setting"), "{error}");
    }
}
