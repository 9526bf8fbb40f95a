//! A request as a line. Written by hand: each request has one, and through a general serialiser it cost more than
//! all stages that the request went through before.

use std::time::Duration;

use model::push::Push;

use super::Entry;

/// Longest text of a visitor's in a line.
const MOST_TEXT_BYTES: usize = 256;

/// A JSON object that is being written.
struct Object<'a>(&'a mut Vec<u8>);

/// Appends the line of `entry` with its end to `out`.
pub(super) fn write(entry: &Entry<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":\"");
    let mut object = Object(out);
    object.end_quoted(&entry.time);
    object.quoted("request_id", &entry.request_id);
    object.number("connection", entry.connection);
    object.quoted_or_null("client", entry.client);
    if let Some(peer) = entry.peer {
        object.quoted("peer", &peer);
    }
    object.text("scheme", Some(entry.scheme));
    object.text("host", entry.host.map(cut));
    object.text("method", Some(cut(entry.method)));
    object.text("path", Some(entry.path));
    object.number("status", entry.status.into());
    object.text("refusal", entry.refusal);
    object.text("reason", entry.reason);
    object.quoted_or_null("tenant", entry.tenant);
    object.quoted_or_null("app", entry.app);
    object.text("backend", entry.backend);
    if let Some(hedged) = entry.hedged {
        object.text("hedged", Some(hedged));
    }
    object.millis("ttfb_ms", entry.ttfb);
    object.millis("total_ms", Some(entry.total));
    object.number("bytes_in", entry.bytes_in);
    object.number("bytes_out", entry.bytes_out);
    object.text("protocol", Some(entry.protocol));
    object.text("sni", entry.sni);
    object.text("tls_version", entry.tls_version);
    object.text("ja4", entry.ja4);
    object.text("user_agent", entry.user_agent.map(cut));
    out.extend_from_slice(b"}\n");
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MOST_TEXT_BYTES)).unwrap_or(text)
}

impl Object<'_> {
    fn key(&mut self, name: &'static str) {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn number(&mut self, name: &'static str, value: u64) {
        self.key(name);
        value.push_to(self.0);
    }

    /// A value whose text needs no escapes.
    fn quoted(&mut self, name: &'static str, value: &impl Push) {
        self.key(name);
        self.0.push(b'"');
        self.end_quoted(value);
    }

    fn end_quoted(&mut self, value: &impl Push) {
        value.push_to(self.0);
        self.0.push(b'"');
    }

    fn quoted_or_null(&mut self, name: &'static str, value: Option<impl Push>) {
        match value {
            Some(value) => self.quoted(name, &value),
            None => self.null(name),
        }
    }

    fn null(&mut self, name: &'static str) {
        self.key(name);
        self.0.extend_from_slice(b"null");
    }

    fn text(&mut self, name: &'static str, text: Option<&str>) {
        let Some(text) = text else { return self.null(name) };
        self.key(name);
        let is_plain = |byte: &u8| *byte >= b' ' && !matches!(byte, b'"' | b'\\');
        if text.as_bytes().iter().all(is_plain) {
            self.0.push(b'"');
            self.0.extend_from_slice(text.as_bytes());
            self.0.push(b'"');
        } else {
            // Writing to memory cannot fail.
            let _written = serde_json::to_writer(&mut *self.0, text);
        }
    }

    /// Milliseconds to the microsecond.
    fn millis(&mut self, name: &'static str, time: Option<Duration>) {
        let Some(time) = time else { return self.null(name) };
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.key(name);
        (micros / 1_000).push_to(self.0);
        self.0.push(b'.');
        // The one in front keeps the zeros behind the point, and gives its place to the point.
        // A thousand more keeps the zeros in front; its own digit goes.
        let begin = self.0.len();
        (1_000 + micros % 1_000).push_to(self.0);
        self.0.remove(begin);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use model::Timestamp;
    use model::id::{AppId, RequestId, TenantId};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    proptest! {
        #[test]
        fn a_line_is_one_json_object_that_says_what_was_there(
            texts in prop::array::uniform4(prop::option::of(any::<String>())),
            status in any::<u16>(),
            micros in any::<u32>(),
            bytes in any::<u64>(),
        ) {
            let now = Timestamp::from_unix_millis(1_800_000_000_120);
            let [host, agent, path, refusal] = &texts;
            let path = path.as_deref().unwrap_or("/");
            let (request_id, tenant, app) =
                (RequestId::generate(now), TenantId::generate(now), AppId::generate(now));
            let time = Duration::from_micros(micros.into());
            let entry = Entry {
                time: now,
                request_id,
                connection: bytes,
                client: Some(IpAddr::from([192, 0, 2, 1])),
                peer: refusal.as_ref().map(|_| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])),
                scheme: "https",
                host: host.as_deref(),
                method: "GET",
                path,
                status,
                refusal: None,
                reason: Some("a \"reason\""),
                tenant: Some(tenant),
                app: Some(app),
                backend: None,
                hedged: None,
                ttfb: host.as_ref().map(|_| time),
                total: time,
                bytes_in: bytes,
                bytes_out: 0,
                protocol: "h2",
                sni: host.as_deref(),
                tls_version: None,
                ja4: None,
                user_agent: agent.as_deref(),
            };
            let mut line = Vec::with_capacity(8 << 10);
            let counted = allocation_counter::measure(|| write(&entry, &mut line));
            prop_assert!(line.capacity() > 8 << 10 || counted.count_total == 0, "{counted:?}");
            prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            let millis = f64::from(micros) / 1e3;
            let mut expected = json!({
                "time": "2027-01-15T08:00:00.120Z", "request_id": request_id.to_string(), "connection": bytes,
                "client": "192.0.2.1", "scheme": "https", "host": host.as_deref().map(cut), "method": "GET",
                "path": path, "status": status, "refusal": null, "reason": "a \"reason\"",
                "tenant": tenant.to_string(), "app": app.to_string(), "backend": null,
                "ttfb_ms": host.as_ref().map(|_| millis), "total_ms": millis, "bytes_in": bytes, "bytes_out": 0,
                "protocol": "h2", "sni": host, "tls_version": null, "ja4": null,
                "user_agent": agent.as_deref().map(cut),
            });
            if refusal.is_some() {
                expected["peer"] = json!("2001:db8::1");
            }
            prop_assert_eq!(serde_json::from_slice::<Value>(&line).unwrap(), expected);
        }
    }
}
