//! The firewall's seam: a request in, a verdict out. Knows no HTTP server.
//!
//! An edge asks an [`Engine`] after the visitor's throttle and before the tenant's quota, so what is blocked
//! is neither counted against the tenant nor billed. This version has one engine, [`NoRules`], which lets
//! everything pass: **nothing is protected by it**. Deliberately absent until there are rules: bodies,
//! responses, scores, exclusions.
//!
//! Fail mode: [`Engine::inspect`] has no error and may not panic, block or wait, so the edge has nothing to
//! decide when an engine is in trouble. An engine that gives up (a limit on size or time) says so in the
//! verdict that its operator chose for that: [`Verdict::Log`] to fail open, [`Verdict::Block`] to fail
//! closed. [`NoRules`] cannot get into trouble and is always open.

mod request;
mod verdict;

pub use request::Request;
pub use verdict::{Finding, RuleId, Verdict};

/// Judges requests.
pub trait Engine: Send + Sync + std::fmt::Debug + 'static {
    /// The verdict on one request. Runs in the request's way: answers from memory, in bounded time.
    fn inspect(&self, request: &Request<'_>) -> Verdict;
}

/// The engine without rules: allows everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRules;

impl Engine for NoRules {
    fn inspect(&self, _request: &Request<'_>) -> Verdict {
        Verdict::Allow
    }
}

#[cfg(test)]
mod tests;
