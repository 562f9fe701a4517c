//! Accepts connections and serves them, each in a task that the lifecycle owns.
//!
//! Own accept loop instead of `axum::serve`, which has no timeout for the head of a request (a client that sends one
//! byte a minute holds its connection for ever) or for a client that takes nothing of its answer, does not set
//! `TCP_NODELAY`, and detaches what it spawns. When the process stops, the listener closes at once, requests in flight
//! are answered, idle connections end.

use std::{convert::Infallible, net::SocketAddr, pin::pin, time::Duration};

use axum::{Router, extract::ConnectInfo};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::{
    bad_heads::{BadHeads, MAX_HEADERS},
    impatient::Impatient,
    origins::OverTls,
    tls::Tls,
};
use crate::lifecycle::Lifecycle;

/// How long a client may keep a connection waiting.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For the head of its next request.
    pub idle: Duration,
    /// For room to write, while there is something to write.
    pub write: Duration,
}

/// How long to wait after `accept` failed: it does when the process is out of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// What HTTP is served on, and what a socket gets after the upgrade: TCP, or TLS over it.
pub(super) type Connection = Either<Impatient<TcpStream>, Box<TlsStream<Impatient<TcpStream>>>>;

/// What hyper holds: it gives words to hyper's own refusals.
pub(super) type Served = BadHeads<Connection>;

/// Serves `router` on `listener`, over TLS if there is a certificate, until the process stops.
pub async fn serve(listener: TcpListener, router: Router, timeouts: Timeouts, tls: Option<Tls>, lifecycle: Lifecycle) {
    let mut stopping = pin!(lifecycle.stopping());
    loop {
        let accepted = tokio::select! {
            () = &mut stopping => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let served = connection(stream, peer, router.clone(), timeouts, tls.clone(), lifecycle.clone());
                drop(lifecycle.spawn(served));
            }
            Err(error) => {
                tracing::warn!(error = %error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    timeouts: Timeouts,
    tls: Option<Tls>,
    lifecycle: Lifecycle,
) {
    // Small frames must not wait for each other's acknowledgement.
    let _ = stream.set_nodelay(true);
    give_up_on_the_absent(&stream, timeouts.write * 2);
    keep_near_the_wire(&stream);
    let stream = Impatient::new(stream, timeouts.write);
    let stream: Connection = match tls {
        None => Either::Left(stream),
        Some(tls) => {
            let secured = tokio::select! {
                () = lifecycle.stopping() => return,
                secured = tls.accept(stream) => secured,
            };
            let Some(secured) = secured else { return };
            Either::Right(secured)
        }
    };
    let over_tls = matches!(stream, Either::Right(_)).then_some(OverTls);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        if let Some(over_tls) = over_tls {
            request.extensions_mut().insert(over_tls);
        }
        let mut router = router.clone();
        async move { Ok::<_, Infallible>(call(&mut router, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Runs from the end of the last request to the end of the next one's head: hyper has one timer for both.
        .header_read_timeout(timeouts.idle)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(Served::new(stream)), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    tokio::select! {
        // An error here is the client's way of leaving.
        _ = connection.as_mut() => return,
        () = lifecycle.stopping() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
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
/// that takes nothing. So whatever is taken here is near the wire, and whoever takes bytes is seen to.
#[cfg(target_os = "linux")]
fn keep_near_the_wire(stream: &TcpStream) {
    // Without it a slow reader is closed sooner than it should be.
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(HELD_BACK);
}

#[cfg(not(target_os = "linux"))]
fn keep_near_the_wire(_: &TcpStream) {}

async fn call(router: &mut Router, request: Request<Incoming>) -> axum::response::Response {
    use tower_service::Service;

    // A router is always ready and never fails.
    match router.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
