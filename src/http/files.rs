//! Bytes of files: one `PUT` for each, and `GET`s of them, by signed links.
//!
//! Translates between HTTP and [`Files`]: what a link and a head say, which status an outcome has, and which part of a file
//! is asked for. A body is read only for a link that is ours, of the promised size and type. What is handed out is an
//! attachment that no browser runs: `nosniff`, a policy that allows nothing and puts it in a sandbox, and the type that was
//! checked. A transfer ends by itself within `files.transfer_timeout_ms`.

use std::{io::SeekFrom, time::Duration};

use axum::{
    Router,
    body::{Body, BodyDataStream, Bytes},
    extract::{Path, RawQuery, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::{StreamExt, stream};
use tokio::{
    io::{AsyncReadExt, AsyncSeekExt},
    time::Instant,
};

use super::{HttpState, graphql::discard_little, header_values::with_parameters, middleware};
use crate::{
    error::InternalError,
    files::{
        Files, UploadError,
        links::Deed,
        service::{DownloadError, Opened},
        upload::Announced,
    },
    graphql::errors::ErrorCode,
    lifecycle::Lifecycle,
};

/// Bytes that are read from the disk at a time.
const PIECE: usize = 64 * 1024;
/// What is read of a body at the most that is not used.
const DISCARDED: usize = 1024 * 1024;
/// How long a client should wait that was turned away.
const LATER: u64 = 5;
/// Nothing in it may run, load or be framed.
const POLICY: &str = "default-src 'none'; sandbox; frame-ancestors 'none'";
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

pub(super) fn routes() -> Router<HttpState> {
    Router::new().route("/files/{id}", get(download).put(upload))
}

/// Takes the bytes of a file.
async fn upload(
    State(files): State<Files>,
    State(lifecycle): State<Lifecycle>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let link = files.read_link(Deed::Upload, &id, query.as_deref().unwrap_or_default());
    let link = link.map_err(|bad| (StatusCode::FORBIDDEN, ErrorCode::Forbidden, bad.to_string()));
    let (id, announced) = match link.and_then(|id| Ok((id, announced(&headers)?))) {
        Ok(checked) => checked,
        Err((status, code, message)) => {
            discard_little(&headers, body).await;
            return middleware::error(status, code, &message);
        }
    };
    // A task of its own: the lease is given back whatever becomes of the client.
    let (mut body, waits) = (body.into_data_stream(), headers.contains_key(header::EXPECT));
    let taken = lifecycle.spawn(async move {
        let taken = files.receive(id, &announced, &mut body).await;
        if taken.is_err() && !waits {
            discard(body).await;
        }
        taken
    });
    let taken = taken.await;
    match taken {
        Ok(Some(Ok(_))) => StatusCode::NO_CONTENT.into_response(),
        Ok(Some(Err(error))) => refused(&error),
        Ok(None) | Err(_) => {
            later(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, "The server stops. Send the file again.")
        }
    }
}

/// Reads on for a moment what will not be used: a connection that is closed on a client in the middle of sending is reset, and
/// the reset overtakes the answer.
async fn discard(mut body: BodyDataStream) {
    let rest = async {
        let mut left = DISCARDED;
        while let Some(Ok(bytes)) = body.next().await {
            left = left.saturating_sub(bytes.len());
            if left == 0 {
                return;
            }
        }
    };
    // Either way the answer goes out now.
    let _ = tokio::time::timeout(Duration::from_millis(500), rest).await;
}

/// What the head says of the body, or how it is refused.
fn announced(headers: &HeaderMap) -> Result<Announced, (StatusCode, ErrorCode, String)> {
    let bad = |status, message: &str| Err((status, ErrorCode::BadRequest, message.to_owned()));
    if headers.contains_key(header::CONTENT_ENCODING) || headers.contains_key(header::CONTENT_RANGE) {
        let message = "Send the body whole and as it is, without Content-Encoding and Content-Range.";
        return bad(StatusCode::UNSUPPORTED_MEDIA_TYPE, message);
    }
    let size = headers.get(header::CONTENT_LENGTH).and_then(|size| size.to_str().ok()?.parse().ok());
    let Some(size) = size else {
        return bad(
            StatusCode::LENGTH_REQUIRED,
            "Send Content-Length with the size that was promised to createUpload.",
        );
    };
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|of| of.to_str().ok()).unwrap_or_default();
    let (content_type, _) = with_parameters(content_type);
    Ok(Announced { size, content_type: content_type.to_owned() })
}

/// An outcome as a response. Closes the connection where a body may not have been read to its end.
fn refused(error: &UploadError) -> Response {
    let (status, code) = match error {
        UploadError::NotFound => (StatusCode::NOT_FOUND, ErrorCode::NotFound),
        UploadError::Done | UploadError::Refused(_) | UploadError::Busy => {
            (StatusCode::CONFLICT, ErrorCode::BadRequest)
        }
        UploadError::TooMany(_) => (StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited),
        UploadError::Full | UploadError::NotScanned => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable),
        UploadError::OtherSize(_) | UploadError::BrokeOff => (StatusCode::BAD_REQUEST, ErrorCode::BadRequest),
        UploadError::OtherType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorCode::BadRequest),
        UploadError::TooLong(_) => (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::BadRequest),
        UploadError::TooSlow => (StatusCode::REQUEST_TIMEOUT, ErrorCode::Timeout),
        UploadError::OtherHash(_) | UploadError::Rejected(_) => {
            (StatusCode::UNPROCESSABLE_ENTITY, ErrorCode::BadUserInput)
        }
        UploadError::DiskFull => {
            tracing::error!("there is no room left in the folder of files");
            (StatusCode::INSUFFICIENT_STORAGE, ErrorCode::Unavailable)
        }
        UploadError::InternalError(error) => return failed(error),
    };
    let message = error.to_string();
    let mut response = match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => later(status, code, &message),
        _ => middleware::error(status, code, &message),
    };
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn failed(error: &InternalError) -> Response {
    tracing::error!(error = %error, "bytes of a file cannot be moved");
    let message = "Something went wrong on our side. Tell us the x-request-id, and we find out what.";
    let mut response = middleware::error(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::InternalServerError, message);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn later(status: StatusCode, code: ErrorCode, message: &str) -> Response {
    let mut response = middleware::error(status, code, message);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(LATER));
    response
}

/// Hands out the bytes of a file, or a part of them.
async fn download(
    State(files): State<Files>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let id = match files.read_link(Deed::Download, &id, query.as_deref().unwrap_or_default()) {
        Ok(id) => id,
        Err(bad) => return middleware::error(StatusCode::FORBIDDEN, ErrorCode::Forbidden, &bad.to_string()),
    };
    let mut opened = match files.open(id).await {
        Ok(opened) => opened,
        Err(error @ DownloadError::NotFound) => {
            return middleware::error(StatusCode::NOT_FOUND, ErrorCode::NotFound, &error.to_string());
        }
        Err(error @ DownloadError::Full) => {
            return later(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, &error.to_string());
        }
        Err(DownloadError::InternalError(error)) => return failed(&error),
    };
    let size = u64::try_from(opened.file.byte_size).unwrap_or_default();
    let tag = format!("\"{}\"", opened.file.sha256);
    let (status, from, length) = match part(&headers, size, &tag) {
        Part::All => (StatusCode::OK, 0, size),
        Part::Some { from, length } => (StatusCode::PARTIAL_CONTENT, from, length),
        Part::Beyond => {
            let message = "Range asks for bytes that the file does not have.";
            let mut response = middleware::error(StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::BadRequest, message);
            put(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{size}"));
            return response;
        }
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let answer = response.headers_mut();
    let is_text = opened.file.content_type.starts_with("text/");
    put(
        answer,
        header::CONTENT_TYPE,
        &format!("{}{}", opened.file.content_type, if is_text { "; charset=utf-8" } else { "" }),
    );
    put(answer, header::CONTENT_LENGTH, &length.to_string());
    put(answer, header::CONTENT_DISPOSITION, &attachment(&opened.file.name));
    put(answer, header::CONTENT_SECURITY_POLICY, POLICY);
    put(answer, RESOURCE_POLICY, "cross-origin");
    put(answer, header::CACHE_CONTROL, "private, no-store");
    put(answer, header::ACCEPT_RANGES, "bytes");
    put(answer, header::ETAG, &tag);
    if status == StatusCode::PARTIAL_CONTENT {
        put(answer, header::CONTENT_RANGE, &format!("bytes {from}-{}/{size}", from + length - 1));
    }
    if method != Method::HEAD {
        if let Err(error) = opened.bytes.seek(SeekFrom::Start(from)).await {
            return failed(&InternalError::Unavailable(format!("the bytes of {id}: {error}")));
        }
        *response.body_mut() = body(opened, length);
    }
    response
}

/// What a header says is ours to write: a value that cannot be one is left out.
fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// So many bytes from where the file stands, read as the client takes them.
fn body(opened: Opened, length: u64) -> Body {
    let end = Instant::now() + opened.within;
    Body::from_stream(stream::try_unfold((opened, length), move |(mut opened, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        if Instant::now() >= end {
            return Err(std::io::Error::from(std::io::ErrorKind::TimedOut));
        }
        let mut piece = vec![0; usize::try_from(left).unwrap_or(PIECE).min(PIECE)];
        let read = opened.bytes.read(&mut piece).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        piece.truncate(read);
        let read = read as u64;
        Ok(Some((Bytes::from(piece), (opened, left - read))))
    }))
}

/// Which bytes are asked for.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    All,
    Some { from: u64, length: u64 },
    Beyond,
}

/// One range of bytes (RFC 9110, section 14). Several, or what is no range, is all: a server may ignore them.
fn part(headers: &HeaderMap, size: u64, tag: &str) -> Part {
    if headers.get(header::IF_RANGE).is_some_and(|wanted| wanted.as_bytes() != tag.as_bytes()) {
        return Part::All;
    }
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok()?.strip_prefix("bytes="));
    let Some((first, last)) = range.and_then(|range| range.trim().split_once('-')) else { return Part::All };
    let number =
        |text: &str| text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    match (first, last, number(first), number(last)) {
        ("", _, _, Some(0)) => Part::Beyond,
        ("", _, _, Some(last)) => Part::Some { from: size.saturating_sub(last), length: last.min(size) },
        (_, _, Some(first), _) if first >= size => Part::Beyond,
        (_, "", Some(first), _) => Part::Some { from: first, length: size - first },
        (_, _, Some(first), Some(last)) if first <= last => {
            Part::Some { from: first, length: last.min(size - 1) - first + 1 }
        }
        _ => Part::All,
    }
}

/// Saves it under its name (RFC 6266): in ASCII for old clients, and as it is.
fn attachment(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(
            |letter| if letter.is_ascii_graphic() && !"\"\\%".contains(letter) || letter == ' ' { letter } else { '_' },
        )
        .collect();
    let mut coded = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            coded.push(char::from(byte));
        } else {
            coded.push('%');
            coded.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])));
        }
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{coded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_one_part_or_all() {
        let of = |range: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, range.parse().expect("a value"));
            part(&headers, 10, "\"a\"")
        };
        for (range, from, length) in
            [("bytes=0-0", 0, 1), ("bytes=3-", 3, 7), ("bytes=-4", 6, 4), ("bytes=-40", 0, 10), ("bytes=2-99", 2, 8)]
        {
            assert_eq!(of(range), Part::Some { from, length }, "{range}");
        }
        for range in ["bytes=5-3", "bytes=a-b", "bytes=0-1,3-4", "lines=0-1", "bytes=-", "bytes=+1-2"] {
            assert_eq!(of(range), Part::All, "{range}");
        }
        for range in ["bytes=10-", "bytes=10-11", "bytes=-0"] {
            assert_eq!(of(range), Part::Beyond, "{range}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, "bytes=0-0".parse().expect("a value"));
        headers.insert(header::IF_RANGE, "\"b\"".parse().expect("a value"));
        assert_eq!(part(&headers, 10, "\"a\""), Part::All, "of another file");
    }

    #[test]
    fn a_name_cannot_leave_its_header() {
        let header = attachment("a\"b;\u{fc} %.png");
        assert_eq!(header, "attachment; filename=\"a_b;_ _.png\"; filename*=UTF-8''a%22b%3B%C3%BC%20%25.png");
    }
}
