use super::*;

fn base(text: &str) -> Result<String, String> {
    parse_base(text).map(|url| url.to_string()).map_err(|error| error.to_string())
}

#[test]
fn clear_text_is_for_loopback_only() {
    for url in ["http://127.0.0.1:8090", "http://127.8.8.8", "http://[::1]:1", "http://localhost:8090/x"] {
        assert!(base(url).is_ok(), "{url}");
    }
    for url in
        ["http://control.example.com", "http://10.0.0.1", "http://localhost.example.com", "http://0.0.0.0"]
    {
        let error = base(url).unwrap_err();
        assert!(error.contains(url) && error.contains("use https"), "{error}");
    }
}

#[test]
fn a_url_that_is_no_base_is_named() {
    for url in ["control", "ftp://a.example", "https://a.example?x=1", "https://a.example#x", "", "file:///x"]
    {
        let error = base(url).unwrap_err();
        assert!(error.contains(&format!("`{url}`")), "{error}");
    }
    let error = base("https://me:hunter2@a.example").unwrap_err();
    assert!(error.contains("user or a password") && !error.contains("hunter2"), "{error}");
}

#[test]
fn a_ca_file_without_a_certificate_is_told() {
    let error = authorities(b"hello").map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("BEGIN CERTIFICATE"), "{error}");
}
