//! TLS on the server's own port: handshakes, and the certificate in use.
//!
//! Owns the way from an accepted TCP connection to one that HTTP can be served on. Off unless a certificate is set,
//! since a load balancer may terminate TLS. [`server`](super::server) calls [`Tls::accept`] in the connection's own
//! task, so a slow handshake delays no other connection, and [`App`](crate::app::App) runs [`Tls::run_reload`].
//!
//! Invariants: a handshake ends within its time; a connection that does not begin one is answered in plain HTTP; a new
//! certificate is used for new connections, and an invalid one changes nothing.
//!
//! - [`certificate`]: the files, and the exchange while connections are accepted

use std::{sync::Arc, time::Duration};

use metrics::counter;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring},
    server::TlsStream,
};

use self::certificate::Certificate;
use super::{connections::Seated, write_timeout::WriteTimeout};
use crate::{clock::Clock, lifecycle::Lifecycle};

mod certificate;
mod settings;

pub use self::{certificate::TlsError, settings::TlsSettings};

/// Counter by `outcome` (done, failed, timeout, plain): TLS handshakes.
pub const HANDSHAKES: &str = "lancewire_tls_handshakes_total";
/// Counter by `outcome` (loaded, refused): certificates that were found changed.
pub const RELOADS: &str = "lancewire_tls_reloads_total";
/// Gauge: when the certificate in use ends, in seconds since the epoch.
pub const EXPIRY: &str = "lancewire_tls_certificate_expiry_timestamp_seconds";

/// What a client that speaks HTTP without TLS is told, and how much it may send before it is cut off.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\
                       content-length: 39\r\n\r\nThis port speaks TLS: use https or wss\n";
const PLAIN_BYTES: u64 = 64 * 1024;

/// How connections are secured. Clones share the certificate.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
    handshake: Duration,
    reload: Duration,
}

impl Tls {
    /// Reads the certificate and its key; none if none is set. Reads two small files: for the start only.
    pub fn load(settings: &TlsSettings) -> Result<Option<Self>, TlsError> {
        if !settings.is_on() {
            return Ok(None);
        }
        let provider = Arc::new(ring::default_provider());
        let certificate = Arc::new(Certificate::load(settings, Arc::clone(&provider))?);
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(TlsError::Library)?.with_no_client_auth();
        let mut config = builder.with_cert_resolver(Arc::clone(&certificate) as _);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Sealed tickets instead of a store: who comes back is recognised, and nothing is kept for those who do not.
        config.ticketer = ring::Ticketer::new().map_err(TlsError::Library)?;
        Ok(Some(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificate,
            handshake: Duration::from_millis(settings.handshake_timeout_ms),
            reload: Duration::from_millis(settings.reload_ms),
        }))
    }

    /// The handshake; none if it fails, or takes too long, or is not even begun.
    pub(super) async fn accept(&self, tcp: WriteTimeout<Seated>) -> Option<Box<TlsStream<WriteTimeout<Seated>>>> {
        let (secured, outcome) = match timeout(self.handshake, self.shake_hands(tcp)).await {
            Ok(Ok(Some(secured))) => (Some(secured), "done"),
            Ok(Ok(None)) => (None, "plain"),
            Ok(Err(error)) => {
                tracing::debug!(error = %error, "a TLS handshake failed");
                (None, "failed")
            }
            Err(_) => (None, "timeout"),
        };
        counter!(HANDSHAKES, "outcome" => outcome).increment(1);
        secured
    }

    async fn shake_hands(
        &self,
        mut tcp: WriteTimeout<Seated>,
    ) -> std::io::Result<Option<Box<TlsStream<WriteTimeout<Seated>>>>> {
        // TLS begins with a record of type 22 (RFC 8446, 5.1), HTTP with a letter.
        let mut first = [0];
        if tcp.get_ref().tcp().peek(&mut first).await? == 1 && first[0].is_ascii_alphabetic() {
            tcp.write_all(PLAIN).await?;
            tcp.shutdown().await?;
            // Closing over unread bytes resets the connection, and a reset can overtake the answer.
            tokio::io::copy(&mut tcp.take(PLAIN_BYTES), &mut tokio::io::sink()).await?;
            return Ok(None);
        }
        self.acceptor.accept(tcp).await.map(|secured| Some(Box::new(secured)))
    }

    /// Looks for a new certificate every so often, until the process stops.
    pub async fn run_reload(self, clock: Clock, lifecycle: Lifecycle) {
        loop {
            tokio::select! {
                () = lifecycle.stopping() => return,
                () = clock.sleep_until(clock.now() + self.reload) => {
                    self.certificate.look_again().await;
                }
            }
        }
    }
}
