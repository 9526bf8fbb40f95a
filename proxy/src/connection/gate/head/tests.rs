use super::*;

fn status(section: &str) -> Result<Checked, u16> {
    check(section.as_bytes(), None).map_err(|refusal| refusal.status())
}

fn line(line: &str) -> u16 {
    status(&format!("{line}\r\nHost: a.test\r\n\r\n")).map_or_else(|status| status, |_| 200)
}

fn fields(fields: &str) -> u16 {
    status(&format!("POST / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n\r\n"))
        .map_or_else(|status| status, |_| 200)
}

#[test]
fn a_request_line_has_three_parts_and_one_of_two_versions() {
    for good in
        ["GET / HTTP/1.1", "HEAD /a?b=c HTTP/1.0", "OPTIONS * HTTP/1.1", "GET /%zz'\"<>|\\^`{} HTTP/1.1"]
    {
        assert_eq!(line(good), 200, "{good}");
    }
    for (bad, status) in [
        ("GET  / HTTP/1.1", 400),
        ("GET / HTTP/1.1 ", 400),
        ("GET /", 400),
        ("GET / HTTP/1.10", 400),
        ("GET / http/1.1", 400),
        ("GET / HTTP/1.2", 505),
        ("PRI * HTTP/2.0", 505),
        ("G(T / HTTP/1.1", 400),
        ("get / HTTP/1.1", 405),
        ("TRACE / HTTP/1.1", 405),
        ("CONNECT a.test:443 HTTP/1.1", 405),
        ("GET http://a.test/ HTTP/1.1", 400),
        ("GET a.test:80 HTTP/1.1", 400),
        ("GET * HTTP/1.1", 400),
        ("GET /a#b HTTP/1.1", 400),
        ("GET /\u{e9} HTTP/1.1", 400),
        ("GET /\u{1} HTTP/1.1", 400),
    ] {
        assert_eq!(line(bad), status, "{bad}");
    }
    assert_eq!(line(&format!("GET /{} HTTP/1.1", "a".repeat(MOST_TARGET_BYTES - 1))), 200);
    assert_eq!(line(&format!("GET /{} HTTP/1.1", "a".repeat(MOST_TARGET_BYTES))), 414);
}

#[test]
fn there_is_exactly_one_host_and_it_is_well_formed() {
    for (host, status) in [
        ("Host: a.test", 200),
        ("hOsT:A.test.:8443", 200),
        ("Host: 127.0.0.1", 200),
        ("Host: [::1]:80", 200),
        ("", 400),
        ("Host:", 400),
        ("Host: a.test\r\nHost: a.test", 400),
        ("Host: a.test:80:90", 400),
        ("Host: u@a.test", 400),
        ("Host: a.test/", 400),
        ("Host: a test", 400),
        ("Host: a.test, b.test", 400),
        ("Host: \u{e9}.test", 400),
        ("Host: [::1", 400),
    ] {
        let section =
            format!("GET / HTTP/1.1\r\nA: b\r\n{host}\r\n{}", if host.is_empty() { "" } else { "\r\n" });
        let got = check(section.as_bytes(), None).map_or_else(|refusal| refusal.status(), |_| 200);
        assert_eq!(got, status, "{host}");
    }
    let known = Host::parse("a.test").unwrap();
    assert!(check(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", Some(&known)).is_ok());
}

#[test]
fn fields_that_decide_are_held_to_one_meaning() {
    for (field, status) in [
        ("Content-Length: 3", 200),
        ("Content-Length: 3\r\nContent-Length: 3", 400),
        ("Content-Length: 3\r\nTransfer-Encoding: chunked", 400),
        ("Content_Length: 3", 400),
        ("Transfer_Encoding: chunked", 400),
        ("X_Forwarded_For: 1", 200),
        ("Transfer-Encoding: gzip", 501),
        ("Expect: 100-Continue", 200),
        ("Expect: 200-ok", 417),
        ("Connection: close, te, X-Own", 200),
        ("Connection: x-forwarded-for", 400),
        ("Connection: Host", 400),
        ("Connection: keep alive", 400),
        ("Upgrade: WebSocket\r\nContent-Length: 3", 400),
        ("Upgrade: h2c\r\nContent-Length: 3", 200),
        (" folded", 400),
    ] {
        assert_eq!(fields(field), status, "{field}");
    }
}

#[test]
fn a_visitor_of_http_1_0_waits_for_no_interim_answer() {
    let checked = |version: &str| {
        status(&format!(
            "POST / {version}\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        ))
    };
    assert_eq!(checked("HTTP/1.1"), Ok(Checked { framing: Framing::Length(3), expects_continue: true }));
    assert_eq!(checked("HTTP/1.0"), Ok(Checked { framing: Framing::Length(3), expects_continue: false }));
}

#[test]
fn fields_are_counted() {
    let many = |count: usize| fields(&vec!["a: b"; count].join("\r\n"));
    assert_eq!(many(MOST_FIELDS - 1), 200);
    assert_eq!(many(MOST_FIELDS), 431);
}
