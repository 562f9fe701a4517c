//! The names of an upgrade's headers, as RFC 6455 spells them.
//!
//! HTTP does not distinguish `Sec-WebSocket-Protocol` from `sec-websocket-protocol`, but clients do: Python's gql looks
//! for the former, and takes a server that writes the latter for one of an older protocol. hyper writes the names of an
//! answer as the request had them, if the answer carries the parser's record of the request; the type of that record is
//! private to hyper. So one request with all the names is parsed here, in memory, and its record is attached to each
//! answer to an upgrade. No other answer and no other request pays for that.

use std::{
    convert::Infallible,
    sync::{LazyLock, Mutex, PoisonError},
};

use axum::{
    body::Body,
    http::{Extensions, Request, Response},
};
use futures_util::FutureExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;

/// One of each name.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nUpgrade: -\r\n\
    Sec-WebSocket-Accept: -\r\nSec-WebSocket-Protocol: -\r\nSec-WebSocket-Version: -\r\n\r\n";

static NOTED: LazyLock<Extensions> = LazyLock::new(read);

/// Has the names of this answer written as they are spelled.
pub(super) fn spell<T>(response: &mut Response<T>) {
    response.extensions_mut().extend(NOTED.clone());
}

fn read() -> Extensions {
    let noted = Mutex::new(Extensions::new());
    let service = service_fn(|request: Request<Incoming>| {
        let (mut parts, _) = request.into_parts();
        parts.extensions.remove::<OnUpgrade>();
        *noted.lock().unwrap_or_else(PoisonError::into_inner) = parts.extensions;
        async { Ok::<_, Infallible>(Response::new(Body::empty())) }
    });
    let io = TokioIo::new(tokio::io::join(REQUEST, tokio::io::sink()));
    // All of it is there already, so nothing waits.
    let _ = http1::Builder::new().preserve_header_case(true).serve_connection(io, service).now_or_never();
    noted.into_inner().unwrap_or_else(PoisonError::into_inner)
}
