//! Imports point down only, and each framework has one owner (see ARCHITECTURE.md; `deny.toml` holds the
//! second for the whole graph). A new crate of the workspace is written down here first.

use cargo_metadata::{Dependency, DependencyKind, MetadataCommand, Package};

/// What each crate may use of the workspace. `testkit` may be used by every test, and by the load test, but by
/// no program that is shipped.
const ROWS: [(&str, &[&str]); 15] = [
    ("model", &[]),
    ("waf", &["model"]),
    ("ratelimit", &["model"]),
    ("config", &["model"]),
    ("testkit", &["model"]),
    ("store", &["model"]),
    ("feed", &["model"]),
    ("billing", &["model", "store"]),
    ("proxy", &["model", "waf", "ratelimit", "feed"]),
    ("certd", &["model", "store", "feed"]),
    ("api", &["model", "store", "feed", "billing"]),
    ("stoa", PRODUCT),
    ("e2e", PRODUCT),
    ("benches", PRODUCT),
    ("loadtest", PRODUCT),
];
/// Everything that the top row stands on.
const PRODUCT: &[&str] =
    &["model", "waf", "ratelimit", "config", "store", "feed", "billing", "proxy", "certd", "api"];

/// Who may use a framework: its crate and those whose names continue it with a hyphen.
const OWNERS: [(&str, &[&str]); 12] = [
    // loadtest measures what we add to a bare one.
    ("pingora", &["proxy", "loadtest"]),
    ("axum", &["api"]),
    ("utoipa", &["api"]),
    ("sqlx", &["store"]),
    ("instant-acme", &["certd"]),
    ("hickory", &["certd"]),
    ("async-stripe", &["billing"]),
    ("redis", &["ratelimit", "feed"]),
    ("clap", &["stoa"]),
    ("criterion", &["benches"]),
    ("dashmap", &["proxy", "ratelimit"]),
    ("toml", &["config", "testkit", "certd"]),
];

fn dependencies() -> Vec<(Package, Dependency)> {
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo can describe its own workspace");
    let of =
        |package: Package| package.dependencies.clone().into_iter().map(move |used| (package.clone(), used));
    metadata.packages.into_iter().flat_map(of).collect()
}

#[test]
fn imports_point_down_only() {
    for (package, used) in dependencies().iter().filter(|(_, used)| used.path.is_some()) {
        let (name, used_name) = (package.name.as_str(), used.name.as_str());
        let row = ROWS.iter().find(|(crate_name, _)| *crate_name == name);
        let (_, allowed) = row.unwrap_or_else(|| panic!("crate `{name}` has no row: give it one in ROWS"));
        let is_test = used.kind == DependencyKind::Development || name == "loadtest";
        let for_tests = used_name == "testkit" && is_test;
        assert!(
            for_tests || allowed.contains(&used_name),
            "crate `{name}` uses `{used_name}`, but its row allows {allowed:?} (and `testkit` in tests)"
        );
    }
}

#[test]
fn each_framework_has_one_owner() {
    for (package, used) in &dependencies() {
        let belongs = |family: &str| {
            used.name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        for (family, owners) in OWNERS.iter().filter(|(family, _)| belongs(family)) {
            let (name, used_name) = (package.name.as_str(), &used.name);
            assert!(
                owners.contains(&name),
                "crate `{name}` uses `{used_name}`, but {family} belongs to {owners:?}"
            );
        }
    }
}
