//! A virus scanner: none, or a clamd over TCP or a socket of this machine.
//!
//! Speaks the command `INSTREAM` (clamd(8)): the bytes in pieces, each with its length before it, and one line as the answer.
//! Whatever is not a clear "OK" is no pass. Called for each upload, before its bytes get to their place.

use std::{io, path::Path, time::Duration};

use tokio::{
    fs::File,
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Bytes of a piece.
const PIECE: usize = 64 * 1024;
/// The longest answer that is read, in bytes.
const ANSWER: u64 = 1024;

/// What is asked.
#[derive(Clone, Debug)]
pub(super) struct Scanner {
    address: Option<Address>,
    within: Duration,
}

#[derive(Clone, Debug)]
enum Address {
    /// `host:port`
    Tcp(String),
    /// A path.
    Unix(String),
}

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing was found, or nobody is asked.
    Clean,
    /// What was found.
    Infected(String),
}

impl Scanner {
    /// The one at an address of the settings: `tcp:host:port`, `unix:/path`, or empty for none.
    pub(super) fn new(address: &str, within: Duration) -> Self {
        let address = match address.split_once(':') {
            Some(("unix", path)) => Some(Address::Unix(path.to_owned())),
            Some((_, host)) => Some(Address::Tcp(host.to_owned())),
            None => None,
        };
        Self { address, within }
    }

    /// Asks about the bytes of a file.
    pub(super) async fn scan(&self, path: &Path) -> io::Result<Verdict> {
        let Some(address) = &self.address else { return Ok(Verdict::Clean) };
        let asked = async {
            match address {
                Address::Tcp(host) => ask(TcpStream::connect(host).await?, path).await,
                #[cfg(unix)]
                Address::Unix(socket) => ask(tokio::net::UnixStream::connect(socket).await?, path).await,
                #[cfg(not(unix))]
                Address::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
            }
        };
        timeout(self.within, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

async fn ask(mut clamd: impl AsyncRead + AsyncWrite + Unpin, path: &Path) -> io::Result<Verdict> {
    let (mut file, mut piece) = (File::open(path).await?, vec![0; PIECE]);
    clamd.write_all(b"zINSTREAM\0").await?;
    loop {
        let read = file.read(&mut piece).await?;
        let length = u32::try_from(read).unwrap_or_default();
        clamd.write_all(&length.to_be_bytes()).await?;
        // An empty piece is the end.
        if read == 0 {
            break;
        }
        clamd.write_all(&piece[..read]).await?;
    }
    clamd.flush().await?;
    let mut answer = Vec::new();
    let mut limited = clamd.take(ANSWER);
    while !answer.contains(&0) && limited.read_buf(&mut answer).await? > 0 {}
    let answer = String::from_utf8_lossy(&answer);
    let line = answer.trim_end_matches(['\0', '\n', '\r']);
    let said = line.strip_prefix("stream: ").unwrap_or(line);
    match said.strip_suffix(" FOUND") {
        Some(name) => Ok(Verdict::Infected(name.chars().filter(char::is_ascii_graphic).collect())),
        None if said == "OK" => Ok(Verdict::Clean),
        None => Err(io::Error::other(format!("clamd says {said:?}"))),
    }
}
