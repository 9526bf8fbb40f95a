//! A site: everything an edge needs to serve one app. An immutable value, replaced whole.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::anchors::{self, AnchorError};
use crate::backend::{Backend, Protocol};
use crate::client_ca::ClientCa;
use crate::csp::Csp;
use crate::host::{Host, HostPattern};
use crate::id::{AppId, DomainId, TenantId};
use crate::tenant::Slug;

/// One app as the edges serve it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// The app.
    pub app: AppId,
    /// Who owns it.
    pub tenant: TenantId,
    /// The app's name, the label of its metrics.
    pub name: Slug,
    /// Every name it answers at.
    pub hosts: Vec<SiteHost>,
    /// Where its requests go; empty while the creator has set none.
    pub backends: Vec<Backend>,
    /// Headers added to its responses.
    pub headers: HeaderPolicy,
    /// Time limits, health checks, load limits.
    pub settings: Settings,
}

/// One name of a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteHost {
    /// The name, or the names below one.
    pub host: HostPattern,
    /// Whose name it is.
    pub origin: HostOrigin,
    /// Whose client certificates it asks visitors for; none: it asks nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<ClientCa>,
}

/// Where a site's name comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum HostOrigin {
    /// `<app>.<zone>` on a zone of the marketplace.
    Zone,
    /// The creator's own domain, whose ownership was proved.
    Domain {
        /// The domain.
        id: DomainId,
        /// Whether it has been live with a certificate, so that HSTS may be sent.
        live: bool,
    },
}

/// Headers that an edge adds to an app's responses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderPolicy {
    /// `Content-Security-Policy`.
    pub content_security_policy: Csp,
    /// `Referrer-Policy`.
    pub referrer_policy: ReferrerPolicy,
}

/// `Referrer-Policy` (W3C Referrer Policy).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum ReferrerPolicy {
    /// Nothing is ever told.
    NoReferrer,
    /// The whole address within the site only.
    SameOrigin,
    /// The origin only.
    StrictOrigin,
    /// The whole address within the site, the origin elsewhere, nothing to cleartext.
    #[default]
    StrictOriginWhenCrossOrigin,
}

impl ReferrerPolicy {
    /// The value of the header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoReferrer => "no-referrer",
            Self::SameOrigin => "same-origin",
            Self::StrictOrigin => "strict-origin",
            Self::StrictOriginWhenCrossOrigin => "strict-origin-when-cross-origin",
        }
    }
}

/// Time limits, health checks and load limits of an app. What ends in `_ms` is milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How long a connection to a backend may take to be made, TLS included. 1 to 60,000.
    pub connect_timeout_ms: u32,
    /// How long a backend may take to begin its answer. 1 to 600,000.
    pub first_byte_timeout_ms: u32,
    /// How long a request may take in all; WebSocket, event streams and gRPC are exempt. 1 to 3,600,000.
    pub total_timeout_ms: u32,
    /// Path that an active health check asks for; none: a TCP connection is enough.
    pub health_path: Option<String>,
    /// Certificates of authorities, PEM, that alone are trusted to vouch for the app's https backends; none: those
    /// that the operator trusts.
    pub backend_ca_pem: Option<Arc<str>>,
    /// The name that the certificates of the app's https backends must have; none: the host of each URL.
    pub backend_server_name: Option<Host>,
    /// Whether each connection to a backend begins with a PROXY header, version 2, that names the visitor.
    pub send_proxy_protocol: bool,
    /// Time between two health checks of a backend. 200 to 600,000.
    pub health_interval_ms: u32,
    /// How long the share of a backend grows that was added or is fit again. 0 (not at all) to 600,000.
    pub slow_start_ms: u32,
    /// Most requests that an edge sends to one backend at a time. 1 to 100,000.
    pub max_in_flight: u32,
    /// Most requests that an edge sends to the app at a time; as many more may wait. WebSockets and event streams
    /// count. 1 to 100,000.
    pub max_concurrency: u32,
    /// How long a request over [`Self::max_concurrency`] may wait. 0 (not at all) to 60,000.
    pub queue_timeout_ms: u32,
    /// After how long without an answer a GET or HEAD is sent to a second backend too, in HTTP/1.1. 0 (never), or
    /// 10 to 60,000.
    pub hedge_after_ms: u32,
    /// Which HTTP the backends are spoken to in.
    pub protocol: Protocol,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout_ms: 2_000,
            first_byte_timeout_ms: 60_000,
            total_timeout_ms: 300_000,
            health_path: None,
            backend_ca_pem: None,
            backend_server_name: None,
            send_proxy_protocol: false,
            health_interval_ms: 2_000,
            slow_start_ms: 10_000,
            max_in_flight: 1_024,
            // A fiftieth of the connections that an edge takes, so that one app in a crowd leaves room for the others,
            // and more than a small app's server works on at a time.
            max_concurrency: 1_000,
            queue_timeout_ms: 1_000,
            hedge_after_ms: 0,
            protocol: Protocol::Auto,
        }
    }
}

/// Settings that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A number outside its range.
    #[error("{field} is {value}: it must be from {min} to {max}")]
    Range {
        /// The field.
        field: &'static str,
        /// What was given.
        value: u32,
        /// Lowest.
        min: u32,
        /// Highest.
        max: u32,
    },
    /// A time after which nearly every request would be sent twice.
    #[error("hedge_after_ms is {0}: it must be 0 (never), or from 10 to 60000")]
    HedgeAfter(u32),
    /// Trust anchors that cannot be used.
    #[error("backend_ca_pem: {0}")]
    Anchors(#[from] AnchorError),
    /// A health path that is no path.
    #[error("health_path `{0}` must begin with / and have no spaces or control characters")]
    HealthPath(String),
}

impl Settings {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`SettingsError`] names the field and the value.
    pub fn check(&self) -> Result<(), SettingsError> {
        let fields = [
            ("connect_timeout_ms", self.connect_timeout_ms, 1, 60_000),
            ("first_byte_timeout_ms", self.first_byte_timeout_ms, 1, 600_000),
            ("total_timeout_ms", self.total_timeout_ms, 1, 3_600_000),
            ("health_interval_ms", self.health_interval_ms, 200, 600_000),
            ("slow_start_ms", self.slow_start_ms, 0, 600_000),
            ("max_in_flight", self.max_in_flight, 1, 100_000),
            ("max_concurrency", self.max_concurrency, 1, 100_000),
            ("queue_timeout_ms", self.queue_timeout_ms, 0, 60_000),
        ];
        for (field, value, min, max) in fields {
            if !(min..=max).contains(&value) {
                return Err(SettingsError::Range { field, value, min, max });
            }
        }
        if !matches!(self.hedge_after_ms, 0 | 10..=60_000) {
            return Err(SettingsError::HedgeAfter(self.hedge_after_ms));
        }
        if let Some(pem) = &self.backend_ca_pem {
            anchors::parse(pem)?;
        }
        match &self.health_path {
            Some(path) if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err(SettingsError::HealthPath(path.clone()))
            }
            _ => Ok(()),
        }
    }

    /// [`Self::connect_timeout_ms`] as a duration.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms.into())
    }

    /// [`Self::first_byte_timeout_ms`] as a duration.
    #[must_use]
    pub fn first_byte_timeout(&self) -> Duration {
        Duration::from_millis(self.first_byte_timeout_ms.into())
    }

    /// [`Self::total_timeout_ms`] as a duration.
    #[must_use]
    pub fn total_timeout(&self) -> Duration {
        Duration::from_millis(self.total_timeout_ms.into())
    }

    /// [`Self::queue_timeout_ms`] as a duration.
    #[must_use]
    pub fn queue_timeout(&self) -> Duration {
        Duration::from_millis(self.queue_timeout_ms.into())
    }

    /// [`Self::hedge_after_ms`] as a duration.
    #[must_use]
    pub fn hedge_after(&self) -> Duration {
        Duration::from_millis(self.hedge_after_ms.into())
    }

    /// [`Self::health_interval_ms`] as a duration.
    #[must_use]
    pub fn health_interval(&self) -> Duration {
        Duration::from_millis(self.health_interval_ms.into())
    }
}
