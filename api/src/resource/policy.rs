//! The forms of an app's headers and settings for the OpenAPI document. The values themselves are `model`'s,
//! which knows no framework; a test holds the two together.

#![expect(dead_code, reason = "these describe `model`'s types and are never made")]

use utoipa::ToSchema;

/// Headers that are added to an app's answers.
#[derive(Debug, ToSchema)]
pub(crate) struct HeaderPolicy {
    /// What the app's pages may load, and from where.
    #[schema(required = false)]
    pub(crate) content_security_policy: ContentSecurityPolicy,
    /// What browsers tell other sites of where a visitor came from.
    #[schema(required = false, default = "strict-origin-when-cross-origin")]
    pub(crate) referrer_policy: ReferrerPolicy,
}

/// `Referrer-Policy` (W3C Referrer Policy).
#[derive(Debug, ToSchema)]
#[schema(rename_all = "kebab-case")]
pub(crate) enum ReferrerPolicy {
    NoReferrer,
    SameOrigin,
    StrictOrigin,
    StrictOriginWhenCrossOrigin,
}

/// `Content-Security-Policy` as data (W3C CSP Level 3): sources by directive. A source is 'self', 'none',
/// data:, blob:, 'unsafe-inline', https://host, https://*.host or wss://host.
#[derive(Debug, ToSchema)]
pub(crate) struct ContentSecurityPolicy {
    /// What is not said below. Default `'self'`.
    #[schema(required = false)]
    pub(crate) default_src: Vec<String>,
    /// Images. Default `'self' data:`.
    #[schema(required = false)]
    pub(crate) img_src: Vec<String>,
    /// Scripts. Default `'self'`.
    #[schema(required = false)]
    pub(crate) script_src: Vec<String>,
    /// Style sheets.
    #[schema(required = false)]
    pub(crate) style_src: Vec<String>,
    /// Fonts.
    #[schema(required = false)]
    pub(crate) font_src: Vec<String>,
    /// What scripts may connect to.
    #[schema(required = false)]
    pub(crate) connect_src: Vec<String>,
    /// Audio and video.
    #[schema(required = false)]
    pub(crate) media_src: Vec<String>,
    /// What may be shown in frames.
    #[schema(required = false)]
    pub(crate) frame_src: Vec<String>,
    /// Where forms may be sent.
    #[schema(required = false)]
    pub(crate) form_action: Vec<String>,
    /// Who may show the app in a frame. Default `'none'`.
    #[schema(required = false)]
    pub(crate) frame_ancestors: Vec<String>,
}

/// Time limits, health checks and load limits of an app. All times in milliseconds.
#[derive(Debug, ToSchema)]
pub(crate) struct Settings {
    /// How long a connection to a backend may take to be made.
    #[schema(required = false, minimum = 1, maximum = 60_000, default = 2_000)]
    pub(crate) connect_timeout_ms: u32,
    /// How long a backend may take to begin its answer.
    #[schema(required = false, minimum = 1, maximum = 600_000, default = 60_000)]
    pub(crate) first_byte_timeout_ms: u32,
    /// How long a request may take in all; WebSocket, event streams and gRPC are exempt.
    #[schema(required = false, minimum = 1, maximum = 3_600_000, default = 300_000)]
    pub(crate) total_timeout_ms: u32,
    /// Path that a health check asks for; null: a connection is enough.
    pub(crate) health_path: Option<String>,
    /// Certificates of authorities, PEM, at most 64 KiB, that alone are trusted to vouch for the https backends;
    /// null: those that the operator trusts.
    pub(crate) backend_ca_pem: Option<String>,
    /// The name that the certificates of the https backends must have; null: the host of each URL.
    pub(crate) backend_server_name: Option<String>,
    /// Whether each connection to a backend begins with a PROXY header, version 2, that names the visitor. The
    /// backends must be set up to expect it, health checks included.
    #[schema(required = false, default = false)]
    pub(crate) send_proxy_protocol: bool,
    /// Time between two health checks of a backend.
    #[schema(required = false, minimum = 200, maximum = 600_000, default = 2_000)]
    pub(crate) health_interval_ms: u32,
    /// How long the share of a backend grows that was added or is fit again; 0: it has its whole share at once.
    #[schema(required = false, minimum = 0, maximum = 600_000, default = 10_000)]
    pub(crate) slow_start_ms: u32,
    /// Most requests that an edge sends to one backend at a time.
    #[schema(required = false, minimum = 1, maximum = 100_000, default = 1_024)]
    pub(crate) max_in_flight: u32,
    /// Most requests that an edge sends to the app at a time, WebSockets and event streams included; as many
    /// more may wait.
    #[schema(required = false, minimum = 1, maximum = 100_000, default = 1_000)]
    pub(crate) max_concurrency: u32,
    /// How long a request over max_concurrency may wait before it is answered with 503; 0: not at all.
    #[schema(required = false, minimum = 0, maximum = 60_000, default = 1_000)]
    pub(crate) queue_timeout_ms: u32,
    /// After how long without an answer a GET or HEAD is sent to a second backend too, whose answer counts if it
    /// comes first and is no 5xx; 0: never, else at least 10. At most a fifth of the requests are sent twice.
    /// The second is sent in HTTP/1.1: none goes to h2c backends, nor where protocol is http2, nor with one backend
    /// alone.
    #[schema(required = false, minimum = 0, maximum = 60_000, default = 0)]
    pub(crate) hedge_after_ms: u32,
    /// Which HTTP the backends are spoken to in, where their URLs leave it open.
    #[schema(required = false, default = "auto")]
    pub(crate) protocol: Protocol,
}

/// `auto`: https backends choose between HTTP/2 and HTTP/1.1, http ones get HTTP/1.1. `http2`: also in
/// cleartext, without asking. A WebSocket needs HTTP/1.1: `auto` uses it for that.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum Protocol {
    Auto,
    Http1,
    Http2,
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use utoipa::PartialSchema;

    fn documented<T: PartialSchema>() -> Vec<String> {
        let schema = serde_json::to_value(T::schema()).unwrap();
        let mut names: Vec<String> = schema["properties"].as_object().unwrap().keys().cloned().collect();
        names.sort();
        names
    }

    fn actual<T: Default + serde::Serialize>() -> Vec<String> {
        let value = serde_json::to_value(T::default()).unwrap();
        let Value::Object(fields) = value else { return Vec::new() };
        let mut names: Vec<String> = fields.into_iter().map(|(name, _)| name).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_documented_is_what_the_model_has() {
        assert_eq!(documented::<super::HeaderPolicy>(), actual::<model::site::HeaderPolicy>());
        assert_eq!(documented::<super::ContentSecurityPolicy>(), actual::<model::csp::Csp>());
        assert_eq!(documented::<super::Settings>(), actual::<model::site::Settings>());
    }
}
