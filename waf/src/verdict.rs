//! What an engine says of a request.

use std::borrow::Cow;
use std::fmt;

/// The number of a rule, as its authors gave it, e.g. 942100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u32);

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The rule that decided, and why; for logs and for the app's owner, never for the visitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which rule.
    pub rule: RuleId,
    /// One sentence, without what the visitor sent.
    pub reason: Cow<'static, str>,
}

/// The verdict on a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a verdict that nobody reads protects nothing"]
pub enum Verdict {
    /// Passes.
    Allow,
    /// Passes, and is noted: a rule on trial, or an engine that gave up and fails open.
    Log(Finding),
    /// Is refused, and not billed.
    Block(Finding),
}

impl Verdict {
    /// Whether the request goes on.
    #[must_use]
    pub const fn passes(&self) -> bool {
        !matches!(self, Self::Block(_))
    }

    /// The rule that decided, if one did.
    #[must_use]
    pub const fn finding(&self) -> Option<&Finding> {
        match self {
            Self::Allow => None,
            Self::Log(finding) | Self::Block(finding) => Some(finding),
        }
    }
}
