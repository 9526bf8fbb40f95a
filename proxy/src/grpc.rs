//! What gRPC needs beside HTTP/2 (the gRPC protocol over HTTP/2, `PROTOCOL-HTTP2` of the gRPC project): to be
//! recognised, and to be refused in its own words.
//!
//! A refusal is a `Trailers-Only` response: status 200, the gRPC status in the one header section. Clients make
//! nothing of a page. Logs and metrics keep our code and the HTTP status that it would have been. gRPC-Web is
//! ordinary HTTP and gets pages.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Version};
use model::id::RequestId;
use pingora_core::Result;
use pingora_http::{RequestHeader, ResponseHeader};

use crate::refusal::Refusal;

const KIND: &[u8] = b"application/grpc";

/// Whether the value of a `Content-Type` is gRPC's: `application/grpc`, with a message format or without.
pub(crate) fn is_grpc(kind: &HeaderValue) -> bool {
    let bytes = kind.as_bytes();
    let (Some(start), rest) = (bytes.get(..KIND.len()), bytes.get(KIND.len())) else { return false };
    start.eq_ignore_ascii_case(KIND) && matches!(rest, None | Some(b'+' | b';' | b' '))
}

/// Whether a request is a gRPC call: POST over HTTP/2.
pub(crate) fn is_call(head: &RequestHeader) -> bool {
    head.version == Version::HTTP_2
        && head.method == Method::POST
        && head.headers.get(CONTENT_TYPE).is_some_and(is_grpc)
}

/// The gRPC status of a refusal (`statuscodes` of the gRPC project): what tells clients and their retry policies
/// the truth, where that differs from the mapping of bare HTTP codes.
const fn status(http: u16) -> u8 {
    match http {
        403 => 7,        // PERMISSION_DENIED
        404 => 12,       // UNIMPLEMENTED
        429 => 8,        // RESOURCE_EXHAUSTED
        502..=504 => 14, // UNAVAILABLE
        _ => 13,         // INTERNAL
    }
}

/// The response to a refused call, to be sent as one header section that ends the stream.
///
/// # Errors
/// None that a request can cause; pingora's way to set a field has them in its type.
pub(crate) fn refusal(refusal: &Refusal, request: RequestId) -> Result<Box<ResponseHeader>> {
    let mut response = ResponseHeader::build(200, Some(5))?;
    response.insert_header(CONTENT_TYPE, "application/grpc")?;
    response.insert_header("Grpc-Status", status(refusal.status()).to_string())?;
    response.insert_header("Grpc-Message", format!("{}, reference {request}", refusal.code()))?;
    response.insert_header("X-Request-Id", request.to_string())?;
    Ok(Box::new(response))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::tests::all;

    #[test]
    fn a_call_is_a_post_over_http2_with_grpcs_content_type() {
        let of = |method: &str, version, kind: &'static str| {
            let mut head = RequestHeader::build(method, b"/a.B/C", None).unwrap();
            head.set_version(version);
            head.insert_header(CONTENT_TYPE, kind).unwrap();
            is_call(&head)
        };
        for kind in ["application/grpc", "application/grpc+proto", "Application/GRPC;x=y"] {
            assert!(of("POST", Version::HTTP_2, kind), "{kind}");
            assert!(!of("GET", Version::HTTP_2, kind) && !of("POST", Version::HTTP_11, kind), "{kind}");
        }
        for kind in ["application/grpc-web", "application/grpcx", "application/grp", "text/plain"] {
            assert!(!of("POST", Version::HTTP_2, kind), "{kind}");
        }
    }

    #[test]
    fn every_refusal_has_a_grpc_status_that_is_not_ok() {
        for refused in all() {
            let id = RequestId::generate(model::Timestamp::from_unix_millis(1));
            let response = refusal(&refused, id).unwrap();
            let status: u8 = response.headers["grpc-status"].to_str().unwrap().parse().unwrap();
            let expected = match refused.status() {
                403 => 7,
                404 => 12,
                429 => 8,
                502..=504 => 14,
                _ => 13,
            };
            assert_eq!((response.status.as_u16(), status), (200, expected), "{refused}");
        }
    }
}
