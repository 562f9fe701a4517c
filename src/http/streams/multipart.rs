//! The parts of Apollo's multipart protocol for subscriptions.
//!
//! Pure. Each result is a part `{"payload": ..}`, a heartbeat an empty object, and a failure of the stream itself a
//! part without a payload but with `errors`. The boundary is written right **after** each part: a client knows a part's
//! end by the boundary behind it, so a boundary before the next part would delay each event until the next one. JSON
//! escapes line ends, so no part can contain the boundary.

pub(super) const CONTENT_TYPE: &str = "multipart/mixed;boundary=\"graphql\";subscriptionSpec=\"1.0\"";

const BOUNDARY: &str = "\r\n--graphql";
const HEAD: &str = "\r\ncontent-type: application/json\r\n\r\n";

/// What comes before the first part.
pub(super) fn begin(out: &mut Vec<u8>) {
    out.extend_from_slice(BOUNDARY.as_bytes());
}

pub(super) fn next(out: &mut Vec<u8>, response: &str) {
    part(out, &["{\"payload\":", response, "}"]);
}

pub(super) fn heartbeat(out: &mut Vec<u8>) {
    part(out, &["{}"]);
}

/// `errors` is a serialised array of errors.
pub(super) fn failure(out: &mut Vec<u8>, errors: &str) {
    part(out, &["{\"payload\":null,\"errors\":", errors, "}"]);
}

/// What comes after the last part.
pub(super) fn complete(out: &mut Vec<u8>) {
    out.extend_from_slice(b"--\r\n");
}

fn part(out: &mut Vec<u8>, body: &[&str]) {
    out.extend_from_slice(HEAD.as_bytes());
    for piece in body {
        out.extend_from_slice(piece.as_bytes());
    }
    out.extend_from_slice(BOUNDARY.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_closed_at_once() {
        let mut out = Vec::new();
        begin(&mut out);
        heartbeat(&mut out);
        next(&mut out, r#"{"data":1}"#);
        assert!(out.ends_with(b"{\"payload\":{\"data\":1}}\r\n--graphql"));
        failure(&mut out, r#"[{"message":"m"}]"#);
        complete(&mut out);
        let text = String::from_utf8_lossy(&out).into_owned();
        let parts: Vec<&str> = text.split("\r\n--graphql").collect();
        let json = |part: &&str| part.strip_prefix("\r\ncontent-type: application/json\r\n\r\n").map(str::to_owned);
        let bodies: Vec<String> = parts.iter().filter_map(json).collect();
        assert_eq!(bodies, ["{}", r#"{"payload":{"data":1}}"#, r#"{"payload":null,"errors":[{"message":"m"}]}"#]);
        assert_eq!((parts.first(), parts.last()), (Some(&""), Some(&"--\r\n")));
    }
}
