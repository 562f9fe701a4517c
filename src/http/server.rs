//! Accepts connections and serves them, each in a task that the lifecycle owns.
//!
//! How many there may be is asked of [`connections`](super::connections) before anything is read. The first head must
//! come within [`Timeouts::head`], since nobody who opens a connection has a reason to wait; later ones within
//! [`Timeouts::idle`].
//!
//! Own accept loop instead of `axum::serve`, which has no timeout for the head of a request (a client that sends one
//! byte a minute holds its connection for ever) or for a client that takes nothing of its answer, knows no TLS and no
//! limit on connections of an address, and detaches what it spawns. (`TCP_NODELAY` would be no reason: its
//! `ListenerExt::tap_io` sets it.) When the process stops, the listener closes at once, requests in flight are
//! answered, idle connections end.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::ConnectInfo,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::{
    bad_heads::{BadHeads, MAX_HEAD, MAX_HEADERS},
    connections::{self, Admission, Connections, Lane, Seated},
    middleware,
    origins::OverTls,
    tls::Tls,
    write_timeout::WriteTimeout,
};
use crate::{graphql::errors::ErrorCode, lifecycle::Lifecycle, limits::Arrivals};

/// How long a client may keep a connection waiting.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For the head of its first request.
    pub head: Duration,
    /// For the head of its next request.
    pub idle: Duration,
    /// For room to write, while there is something to write.
    pub write: Duration,
}

/// How long to wait after `accept` failed: it does when the process is out of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// What HTTP is served on, and what a socket gets after the upgrade: TCP, or TLS over it.
pub(super) type Connection = Either<WriteTimeout<Seated>, Box<TlsStream<WriteTimeout<Seated>>>>;

/// What hyper holds: it gives words to hyper's own refusals.
pub(super) type Served = BadHeads<Connection>;

/// How long a connection that is turned away has for its one request.
const TURN_AWAY: Duration = Duration::from_secs(3);

/// What a connection is served with.
#[derive(Clone)]
pub struct Server {
    /// What it answers.
    pub router: Router,
    /// How long a client may keep it waiting.
    pub timeouts: Timeouts,
    /// The certificate; none for plain HTTP.
    pub tls: Option<Tls>,
    /// How many there may be.
    pub connections: Connections,
    /// How fast an address may come.
    pub arrivals: Arrivals,
    /// Who owns them.
    pub lifecycle: Lifecycle,
}

/// Serves on `listener` until the process stops.
pub async fn serve(listener: TcpListener, server: Server) {
    let lifecycle = server.lifecycle.clone();
    let mut stopping = pin!(lifecycle.stopping());
    loop {
        let accepted = tokio::select! {
            () = &mut stopping => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = %error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        if !server.arrivals.connection(peer.ip()) {
            connections::too_fast();
            reset(&stream);
            continue;
        }
        match server.connections.admit(peer.ip()) {
            Admission::Served(seat) => {
                drop(lifecycle.spawn(connection(Seated::new(stream, seat), peer, server.clone())));
            }
            Admission::TurnedAway(seat, lane) => {
                let told = turn_away(Seated::new(stream, seat), peer, server.clone(), lane);
                drop(lifecycle.spawn(async move {
                    // Not waited for: the peer may never read it.
                    let _ = tokio::time::timeout(TURN_AWAY, told).await;
                }));
            }
            Admission::Closed => reset(&stream),
        }
    }
}

/// Has a connection of which nothing was read close, once it is dropped, at once and without a trace: the kernel keeps no state for its end, which
/// strangers could fill.
fn reset(stream: &TcpStream) {
    // Without it the kernel takes longer.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

async fn connection(stream: Seated, peer: SocketAddr, server: Server) {
    let Server { router, timeouts, tls, lifecycle, .. } = server;
    let Some(stream) = secure(stream, timeouts, tls, &lifecycle).await else { return };
    let over_tls = matches!(stream, Either::Right(_)).then_some(OverTls);
    let begun = Arc::new(AtomicBool::new(false));
    let service = service_fn({
        let begun = Arc::clone(&begun);
        move |mut request: Request<Incoming>| {
            begun.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(ConnectInfo(peer));
            if let Some(over_tls) = over_tls {
                request.extensions_mut().insert(over_tls);
            }
            let mut router = router.clone();
            async move { Ok::<_, Infallible>(call(&mut router, request).await) }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Runs from the end of the last request to the end of the next one's head: hyper has one timer for both.
        .header_read_timeout(timeouts.idle)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(Served::new(stream)), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut first_head = pin!(tokio::time::sleep(timeouts.head));
    let mut waiting = true;
    loop {
        tokio::select! {
            // An error here is the client's way of leaving.
            _ = connection.as_mut() => return,
            () = lifecycle.stopping() => break connection.as_mut().graceful_shutdown(),
            () = first_head.as_mut(), if waiting => {
                if !begun.load(Ordering::Relaxed) {
                    connections::without_head();
                    return;
                }
                waiting = false;
            }
        }
    }
    let _ = connection.await;
}

/// The connection that HTTP is served on; none where TLS fails, or the process stops.
async fn secure(stream: Seated, timeouts: Timeouts, tls: Option<Tls>, lifecycle: &Lifecycle) -> Option<Connection> {
    // Small frames must not wait for each other's acknowledgement.
    let _ = stream.tcp().set_nodelay(true);
    give_up_on_the_absent(stream.tcp(), timeouts.write * 2);
    keep_near_the_wire(stream.tcp());
    let stream = WriteTimeout::new(stream, timeouts.write);
    let Some(tls) = tls else { return Some(Either::Left(stream)) };
    tokio::select! {
        () = lifecycle.stopping() => None,
        secured = tls.accept(stream) => secured.map(Either::Right),
    }
}

/// Gives a connection for which there is no room its one answer.
async fn turn_away(stream: Seated, peer: SocketAddr, server: Server, lane: Lane) {
    let Server { router, timeouts, tls, lifecycle, .. } = server;
    let Some(stream) = secure(stream, timeouts, tls, &lifecycle).await else { return };
    let service = service_fn(move |mut request: Request<Incoming>| {
        let mut router = router.clone();
        async move {
            request.extensions_mut().insert(ConnectInfo(peer));
            // Those who ask that must not take a crowd of strangers for a server that is down.
            let response = if request.uri().path().starts_with("/health/") {
                call(&mut router, request).await
            } else {
                no_room(lane)
            };
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(TURN_AWAY)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(Served::new(stream)), service);
    let _ = connection.await;
}

/// The answer to a connection for which there is no room.
fn no_room(lane: Lane) -> Response {
    let (status, message) = match lane {
        Lane::Address => (
            StatusCode::TOO_MANY_REQUESTS,
            "Too many connections from your address. Close some, or send requests one after the other on those you have.",
        ),
        Lane::Total => (StatusCode::SERVICE_UNAVAILABLE, "This server has no room for more connections. Try again."),
    };
    let mut response = middleware::error(status, ErrorCode::RateLimited, message);
    middleware::secure(response.headers_mut());
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// A peer that is gone without a word acknowledges nothing: what is written for it, such as heartbeats, waits in the
/// kernel, which by itself would try for a quarter of an hour. Later than [`Timeouts::write`], so that ours has the
/// first word.
#[cfg(target_os = "linux")]
fn give_up_on_the_absent(stream: &TcpStream, after: Duration) {
    // Without it the end only comes later.
    let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(after));
}

#[cfg(not(target_os = "linux"))]
fn give_up_on_the_absent(_: &TcpStream, _: Duration) {}

/// Bytes that the kernel may hold back before it takes no more.
const HELD_BACK: u32 = 16 * 1024;

/// Has the kernel take little more than it can send at once. By itself it takes megabytes for one reader, and says that
/// there is room again only when a third of them has gone: a reader that takes a little at a time then looks like one
/// that takes nothing. So what is taken here has nearly left, and a peer that takes bytes is noticed.
#[cfg(target_os = "linux")]
fn keep_near_the_wire(stream: &TcpStream) {
    // Without it a slow reader is closed sooner than it should be.
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(HELD_BACK);
}

#[cfg(not(target_os = "linux"))]
fn keep_near_the_wire(_: &TcpStream) {}

async fn call(router: &mut Router, request: Request<Incoming>) -> Response {
    use tower_service::Service;

    // A router is always ready and never fails.
    match router.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
