//! Certificates on disk, and a way to a server that serves TLS: by hand, or for clients that speak no TLS themselves.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};
use tokio_util::task::AbortOnDropHandle;

/// A certificate for `localhost`, signed by itself, and its key, in two files.
#[derive(Debug)]
pub struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Certificate {
    /// A new pair in `folder`, in place of the one before.
    pub fn issue(folder: &Path) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let files = Self { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") };
        fs::write(&files.certificate, made.cert.pem()).expect("written");
        fs::write(&files.key, made.signing_key.serialize_pem()).expect("written");
        files
    }

    /// Settings of a server that serves with it.
    pub fn settings(&self) -> String {
        let [certificate, key] = [&self.certificate, &self.key].map(|path| path.display().to_string());
        format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n")
    }

    /// As it is in its file now.
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(&self.certificate).expect("a certificate")
    }

    /// A client that trusts what is in the file now and has never been here before.
    pub fn client(&self) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.der()).expect("a root");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().expect("versions").with_root_certificates(roots);
        let mut config = config.with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsConnector::from(Arc::new(config))
    }

    /// A connection to a server that has this certificate, or why there is none.
    pub async fn connect(&self, addr: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(addr).await?;
        self.client().connect(ServerName::try_from("localhost").expect("a name"), tcp).await
    }
}

/// Somebody who signs certificates, and whom nobody trusts who does not know them.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Their own certificate, for those who shall trust them.
    pub certificate: PathBuf,
}

impl Authority {
    /// A new one, whose certificate is in `folder` under this name.
    pub fn new(folder: &Path, name: &str) -> Self {
        let mut parameters = CertificateParams::new([]).expect("no names");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let file = folder.join(format!("{name}.pem"));
        fs::write(&file, parameters.self_signed(&key).expect("a certificate").pem()).expect("written");
        Self { issuer: Issuer::new(parameters, key), certificate: file }
    }

    /// A certificate for `localhost` and its key, in PEM.
    pub fn certify(&self) -> [String; 2] {
        let key = KeyPair::generate().expect("a key");
        let parameters = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate");
        [certificate.pem(), key.serialize_pem()]
    }
}

/// Carries plain connections to a loopback port of its own over TLS to a server. Gone with this value.
#[derive(Debug)]
pub struct Tunnel {
    pub addr: SocketAddr,
    _acceptor: AbortOnDropHandle<()>,
}

impl Tunnel {
    /// A tunnel to `server`, whose certificate is the one that is in the files now.
    #[expect(clippy::disallowed_methods, reason = "the acceptor is the tunnel's own and is aborted with it")]
    pub async fn to(server: SocketAddr, certificate: &Certificate) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let connector = certificate.client();
        let acceptor = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut client, _) = listener.accept().await.expect("accepts");
                let connector = connector.clone();
                connections.spawn(async move {
                    let tcp = TcpStream::connect(server).await.ok()?;
                    let name = ServerName::try_from("localhost").expect("a name");
                    let mut secured = connector.connect(name, tcp).await.ok()?;
                    copy_bidirectional(&mut client, &mut secured).await.ok()
                });
            }
        });
        Self { addr, _acceptor: AbortOnDropHandle::new(acceptor) }
    }
}
