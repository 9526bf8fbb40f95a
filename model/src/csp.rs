//! Content-Security-Policy as data (W3C CSP Level 3): a few directives with checked sources, so that no
//! creator can break out of the header and a review can compare two policies.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::host::Host;

/// Most sources a directive may have.
pub const MAX_SOURCES: usize = 50;

/// A policy. A directive without sources is left out of the header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Csp {
    /// `default-src`
    pub default_src: Vec<Source>,
    /// `img-src`
    pub img_src: Vec<Source>,
    /// `script-src`
    pub script_src: Vec<Source>,
    /// `style-src`
    pub style_src: Vec<Source>,
    /// `font-src`
    pub font_src: Vec<Source>,
    /// `connect-src`
    pub connect_src: Vec<Source>,
    /// `media-src`
    pub media_src: Vec<Source>,
    /// `frame-src`
    pub frame_src: Vec<Source>,
    /// `form-action`
    pub form_action: Vec<Source>,
    /// `frame-ancestors`
    pub frame_ancestors: Vec<Source>,
}

/// The strict default of the platform:
/// `default-src 'self'; img-src 'self' data:; script-src 'self'; frame-ancestors 'none'`.
impl Default for Csp {
    fn default() -> Self {
        Self {
            default_src: vec![Source::Own],
            img_src: vec![Source::Own, Source::Data],
            script_src: vec![Source::Own],
            frame_ancestors: vec![Source::Nobody],
            style_src: Vec::new(),
            font_src: Vec::new(),
            connect_src: Vec::new(),
            media_src: Vec::new(),
            frame_src: Vec::new(),
            form_action: Vec::new(),
        }
    }
}

/// One source expression.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// `'self'`
    Own,
    /// `'none'`
    Nobody,
    /// `data:`
    Data,
    /// `blob:`
    Blob,
    /// `'unsafe-inline'`; refused nowhere, but shown by a review.
    UnsafeInline,
    /// `https://host`
    Https(Host),
    /// `https://*.host`
    HttpsBelow(Host),
    /// `wss://host`
    Wss(Host),
}

/// A text that is no allowed source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an allowed source: use 'self', 'none', data:, blob:, 'unsafe-inline', https://host, https://*.host or wss://host"
)]
pub struct SourceError(String);

/// A policy that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CspError {
    /// `'none'` beside another source.
    #[error("{0} says 'none' and something else: keep one of them")]
    NoneAndMore(&'static str),
    /// More than [`MAX_SOURCES`] sources.
    #[error("{0} has more than 50 sources")]
    TooMany(&'static str),
}

impl Csp {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// [`CspError`] names the directive.
    pub fn check(&self) -> Result<(), CspError> {
        for (name, sources) in self.directives() {
            if sources.len() > MAX_SOURCES {
                return Err(CspError::TooMany(name));
            }
            if sources.len() > 1 && sources.contains(&Source::Nobody) {
                return Err(CspError::NoneAndMore(name));
            }
        }
        Ok(())
    }

    /// The directives in the order in which they are written.
    fn directives(&self) -> [(&'static str, &[Source]); 10] {
        [
            ("default-src", &self.default_src),
            ("img-src", &self.img_src),
            ("script-src", &self.script_src),
            ("style-src", &self.style_src),
            ("font-src", &self.font_src),
            ("connect-src", &self.connect_src),
            ("media-src", &self.media_src),
            ("frame-src", &self.frame_src),
            ("form-action", &self.form_action),
            ("frame-ancestors", &self.frame_ancestors),
        ]
    }
}

/// The value of the header.
impl fmt::Display for Csp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, sources) in self.directives() {
            if sources.is_empty() {
                continue;
            }
            write!(f, "{separator}{name}")?;
            for source in sources {
                write!(f, " {source}")?;
            }
            separator = "; ";
        }
        Ok(())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("'self'"),
            Self::Nobody => f.write_str("'none'"),
            Self::Data => f.write_str("data:"),
            Self::Blob => f.write_str("blob:"),
            Self::UnsafeInline => f.write_str("'unsafe-inline'"),
            Self::Https(host) => write!(f, "https://{host}"),
            Self::HttpsBelow(host) => write!(f, "https://*.{host}"),
            Self::Wss(host) => write!(f, "wss://{host}"),
        }
    }
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let host = |name: &str| Host::parse(name).map_err(|_| SourceError(text.to_owned()));
        match text {
            "'self'" => Ok(Self::Own),
            "'none'" => Ok(Self::Nobody),
            "data:" => Ok(Self::Data),
            "blob:" => Ok(Self::Blob),
            "'unsafe-inline'" => Ok(Self::UnsafeInline),
            _ => {
                if let Some(name) = text.strip_prefix("https://*.") {
                    host(name).map(Self::HttpsBelow)
                } else if let Some(name) = text.strip_prefix("https://") {
                    host(name).map(Self::Https)
                } else if let Some(name) = text.strip_prefix("wss://") {
                    host(name).map(Self::Wss)
                } else {
                    Err(SourceError(text.to_owned()))
                }
            }
        }
    }
}

impl TryFrom<String> for Source {
    type Error = SourceError;

    fn try_from(text: String) -> Result<Self, SourceError> {
        text.parse()
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_strict_policy_to_the_letter() {
        assert_eq!(
            Csp::default().to_string(),
            "default-src 'self'; img-src 'self' data:; script-src 'self'; frame-ancestors 'none'"
        );
    }

    #[test]
    fn one_reviewed_script_host_is_added_in_its_place() -> Result<(), SourceError> {
        let mut csp = Csp::default();
        csp.script_src.push("https://trusted-analytics.example.com".parse()?);
        assert_eq!(
            csp.to_string(),
            "default-src 'self'; img-src 'self' data:; script-src 'self' https://trusted-analytics.example.com; frame-ancestors 'none'"
        );
        Ok(())
    }

    #[test]
    fn nobody_can_break_out_of_the_header() {
        for text in
            ["https://a.test; script-src *", "*", "http://a.test", "'self'\r\nX: y", "https://a.test/x"]
        {
            assert_eq!(text.parse::<Source>(), Err(SourceError(text.to_owned())));
        }
    }

    #[test]
    fn none_stands_alone() {
        let csp = Csp { img_src: vec![Source::Nobody, Source::Data], ..Csp::default() };
        assert_eq!(csp.check(), Err(CspError::NoneAndMore("img-src")));
    }
}
