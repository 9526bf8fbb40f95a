//! The targets by name: whatever reads bytes that strangers can choose.
//!
//! Each is a function of the crate that reads them, and panics only where a promise is broken. A target has
//! its corpus in `fuzz/corpus/<name>/`; the tests of `stoa` read this table too and replay the corpus.

/// Takes any bytes; panics where a promise is broken.
pub(crate) type Target = fn(&[u8]);

/// All of them.
pub(crate) const TARGETS: [(&str, Target); 14] = [
    ("backend_answer", proxy::fuzzing::backend_answer),
    ("certificate", model::fuzzing::certificate),
    ("changes", feed::fuzzing::changes),
    ("chunked_body", proxy::fuzzing::chunked_body),
    ("client_hello", proxy::fuzzing::client_hello),
    ("configuration", config::fuzzing::configuration),
    ("host", model::fuzzing::host),
    ("http2_frames", proxy::fuzzing::http2_frames),
    ("journal", feed::fuzzing::journal),
    ("proxy_header", proxy::fuzzing::proxy_header),
    ("replica_record", feed::fuzzing::replica_record),
    ("request_head", proxy::fuzzing::request_head),
    ("sealed", model::fuzzing::sealed),
    ("usage_record", feed::fuzzing::usage_record),
];
