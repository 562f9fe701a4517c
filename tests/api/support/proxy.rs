//! A wire between clients and a server that tests can stall, cut and unplug, and on which connections fall silent.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpSocket, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

/// What becomes of the connections through a [`Proxy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Bytes go both ways.
    Open,
    /// Connections stay and new ones are taken, but no byte moves. What is on its way arrives when the wire opens.
    Stalled,
    /// Connections are reset at both ends, new ones at once; what was on its way is lost.
    Cut,
    /// The same for clients, but the server does not learn of it before the wire opens again.
    Unplugged,
}

/// The wire, and how often connections were taken away or fell silent: a late look must not miss it.
#[derive(Clone, Copy, Debug)]
struct State {
    wire: Wire,
    cuts: u64,
    silences: u64,
}

/// A TCP proxy on a loopback port of its own, gone with this value.
#[derive(Debug)]
pub struct Proxy {
    pub addr: SocketAddr,
    state: watch::Sender<State>,
    _acceptor: AbortOnDropHandle<()>,
}

impl Proxy {
    /// A proxy to `server`. With `buffer`, the kernel holds about that many bytes of each connection in each socket, so
    /// that what a client does not take soon waits in the server.
    #[expect(clippy::disallowed_methods, reason = "the acceptor is the proxy's own and is aborted with it")]
    pub fn to(server: SocketAddr, buffer: Option<u32>) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        if let Some(buffer) = buffer {
            // Accepted sockets inherit it.
            socket.set_send_buffer_size(buffer).expect("a small buffer");
        }
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        let listener = socket.listen(1024).expect("listens");
        let addr = listener.local_addr().expect("an address");
        let state = watch::Sender::new(State { wire: Wire::Open, cuts: 0, silences: 0 });
        let watched = state.subscribe();
        let acceptor = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (client, _) = accepted.expect("accepts");
                        connections.spawn(connection(client, server, buffer, watched.clone()));
                    }
                    Some(ended) = connections.join_next() => ended.expect("no connection panics"),
                }
            }
        });
        Self { addr, state, _acceptor: AbortOnDropHandle::new(acceptor) }
    }

    /// From now on.
    pub fn set(&self, wire: Wire) {
        let cut = matches!(wire, Wire::Cut | Wire::Unplugged);
        self.state.send_modify(|state| *state = State { wire, cuts: state.cuts + u64::from(cut), ..*state });
    }

    /// From now on every byte on a connection that is open now is lost, both ways, and neither end is told: as behind a
    /// firewall that has forgotten it, or when a server's machine is gone. New connections work.
    pub fn silence(&self) {
        self.state.send_modify(|state| state.silences += 1);
    }
}

/// One connection, until either end closes it or the wire is cut.
async fn connection(mut client: TcpStream, server: SocketAddr, buffer: Option<u32>, mut state: watch::Receiver<State>) {
    let State { wire, cuts, .. } = *state.borrow();
    if matches!(wire, Wire::Cut | Wire::Unplugged) {
        client.set_zero_linger().expect("a reset");
        return;
    }
    let socket = TcpSocket::new_v4().expect("a socket");
    if let Some(buffer) = buffer {
        socket.set_recv_buffer_size(buffer).expect("a small buffer");
    }
    let Ok(mut upstream) = socket.connect(server).await else { return };
    let carried = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = upstream.split();
        let both = futures_util::future::join(
            carry(from_client, to_server, state.clone()),
            carry(from_server, to_client, state.clone()),
        );
        tokio::select! {
            biased;
            _ = state.wait_for(|state| state.cuts != cuts) => false,
            _ = both => true,
        }
    };
    if !carried {
        // Nothing that still waits is sent.
        client.set_zero_linger().expect("a reset");
        upstream.set_zero_linger().expect("a reset");
        drop(client);
        let _ = state.wait_for(|state| state.wire != Wire::Unplugged).await;
    }
}

/// Carries bytes one way until their end, which it passes on.
async fn carry(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut state: watch::Receiver<State>) {
    let mut buffer = vec![0; 4096];
    let silences = state.borrow().silences;
    loop {
        let read = from.read(&mut buffer).await.unwrap_or_default();
        if state.borrow().silences != silences {
            if read == 0 {
                // The other end is not told of this either.
                return std::future::pending().await;
            }
            continue;
        }
        // It may have stalled while we were waiting for something to carry.
        if state.wait_for(|state| state.wire != Wire::Stalled).await.is_err() {
            return;
        }
        let passed = if read == 0 { to.shutdown().await } else { to.write_all(&buffer[..read]).await };
        if read == 0 || passed.is_err() {
            return;
        }
    }
}
