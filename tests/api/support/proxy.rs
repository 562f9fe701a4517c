//! A wire between clients and a server that tests can stall, cut and unplug.

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

/// A TCP proxy on a loopback port of its own, gone with this value.
#[derive(Debug)]
pub struct Proxy {
    pub addr: SocketAddr,
    wire: watch::Sender<Wire>,
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
        let wire = watch::Sender::new(Wire::Open);
        let state = wire.subscribe();
        let acceptor = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (client, _) = accepted.expect("accepts");
                        connections.spawn(connection(client, server, buffer, state.clone()));
                    }
                    Some(ended) = connections.join_next() => ended.expect("no connection panics"),
                }
            }
        });
        Self { addr, wire, _acceptor: AbortOnDropHandle::new(acceptor) }
    }

    /// From now on.
    pub fn set(&self, wire: Wire) {
        self.wire.send_replace(wire);
    }
}

/// One connection, until either end closes it or the wire is cut.
async fn connection(mut client: TcpStream, server: SocketAddr, buffer: Option<u32>, mut wire: watch::Receiver<Wire>) {
    if matches!(*wire.borrow(), Wire::Cut | Wire::Unplugged) {
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
            carry(from_client, to_server, wire.clone()),
            carry(from_server, to_client, wire.clone()),
        );
        tokio::select! {
            biased;
            _ = wire.wait_for(|wire| matches!(wire, Wire::Cut | Wire::Unplugged)) => false,
            _ = both => true,
        }
    };
    if !carried {
        // Nothing that still waits is sent.
        client.set_zero_linger().expect("a reset");
        upstream.set_zero_linger().expect("a reset");
        drop(client);
        let _ = wire.wait_for(|wire| *wire != Wire::Unplugged).await;
    }
}

/// Carries bytes one way until their end, which it passes on.
async fn carry(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut wire: watch::Receiver<Wire>) {
    let mut buffer = vec![0; 4096];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or_default();
        // It may have stalled while we were waiting for something to carry.
        if wire.wait_for(|wire| *wire != Wire::Stalled).await.is_err() {
            return;
        }
        let passed = if read == 0 { to.shutdown().await } else { to.write_all(&buffer[..read]).await };
        if read == 0 || passed.is_err() {
            return;
        }
    }
}
