//! The format of server-sent events, as graphql-sse's distinct connections mode defines it.
//!
//! Pure. Each result is an event `next`, the end is an event `complete`, whose empty `data` makes browsers dispatch it.
//! The `id` of a result is its cursor. A heartbeat is a comment and an `id` without data: a browser takes the id, as
//! the standard says, before it finds that there is nothing to dispatch; graphql-sse skips both. What follows `data:`
//! is JSON on one line, since JSON escapes line ends.

pub(super) const CONTENT_TYPE: &str = "text/event-stream; charset=utf-8";

pub(super) fn next(out: &mut Vec<u8>, response: &str, cursor: Option<&str>) {
    if let Some(cursor) = cursor {
        line(out, "id: ", cursor);
    }
    line(out, "event: next\ndata: ", response);
    out.push(b'\n');
}

pub(super) fn heartbeat(out: &mut Vec<u8>, cursor: &str) {
    line(out, ":\nid: ", cursor);
    out.push(b'\n');
}

/// A heartbeat while it is not known up to where everything was sent.
pub(super) fn comment(out: &mut Vec<u8>, text: &str) {
    line(out, ": ", text);
    out.push(b'\n');
}

pub(super) fn complete(out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: complete\ndata:\n\n");
}

fn line(out: &mut Vec<u8>, before: &str, text: &str) {
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(text.as_bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_written_as_the_protocol_has_them() {
        let mut out = Vec::new();
        heartbeat(&mut out, "a");
        next(&mut out, r#"{"data":1}"#, Some("b"));
        next(&mut out, r#"{"data":2}"#, None);
        comment(&mut out, "restarting");
        complete(&mut out);
        let text = ":\nid: a\n\nid: b\nevent: next\ndata: {\"data\":1}\n\nevent: next\ndata: {\"data\":2}\n\n\
                    : restarting\n\nevent: complete\ndata:\n\n";
        assert_eq!(String::from_utf8_lossy(&out), text);
    }
}
