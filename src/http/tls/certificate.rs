//! The certificate and its key: two PEM files that are read again and again.
//!
//! Content is compared, not dates: that works for renamed files, links and mounted secrets alike. The two files may be
//! read while they are being exchanged; then the pair does not match, the current one stays in use, and the next check
//! finds both.
//!
//! Reading a file on a disk that does not answer takes a thread and cannot be cancelled. So only one read runs at a
//! time; a check that is due meanwhile waits for the same one.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use metrics::{counter, gauge};
use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};
use tokio_rustls::rustls::{
    self, InconsistentKeys,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use x509_cert::der::Decode;
use zeroize::Zeroizing;

use super::{EXPIRY, RELOADS, TlsSettings};

/// How long a look waits for the files.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// A certificate that cannot be used, in one line that names the setting.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: {} cannot be read: {}", .0, .1.display(), .2)]
    Unreadable(&'static str, PathBuf, #[source] io::Error),
    /// There is none in the file.
    #[error("tls.certificate: {} holds no certificate in PEM (BEGIN CERTIFICATE)", .0.display())]
    NoCertificate(PathBuf),
    /// There is none in the file.
    #[error("tls.key: {} holds no private key in PEM (BEGIN PRIVATE KEY)", .0.display())]
    NoKey(PathBuf),
    /// The one is not the other's.
    #[error("tls.key: {} is not the key of the certificate in tls.certificate", .0.display())]
    Strangers(PathBuf),
    /// A certificate that is none, or a key of a kind that nobody uses.
    #[error("tls.certificate: {} and its key cannot be used: {}", .0.display(), .1)]
    Unusable(PathBuf, #[source] rustls::Error),
    /// The library would not be set up.
    #[error("tls: {0}")]
    Library(#[source] rustls::Error),
}

/// What the files held, in a form that may be kept.
type Fingerprint = [u8; 32];

/// The certificate in use. Asked for at each handshake.
pub(super) struct Certificate {
    files: Files,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
    /// What was found the last time, good or bad, so that it is logged only when it changes.
    last: Mutex<Result<Fingerprint, String>>,
    /// A reading that is not done yet.
    reading: tokio::sync::Mutex<Option<JoinHandle<Read>>>,
    patience: Duration,
}

/// What reading the certificate and its key brought.
type Read = (io::Result<Vec<u8>>, io::Result<Zeroizing<Vec<u8>>>);

/// What a look at the files brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing that was not there the last time.
    Nothing,
    /// A certificate, which is in use now.
    Good,
    /// Something that cannot be used.
    Bad,
}

#[derive(Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

struct Contents {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("file", &self.files.certificate).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read()))
    }
}

impl Certificate {
    pub(super) fn load(settings: &TlsSettings, provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let files = Files { certificate: settings.certificate.clone(), key: settings.key.clone() };
        let contents = files.contents(files.read())?;
        let certified = files.certified(&contents, &provider)?;
        report_expiry(&certified);
        Ok(Self {
            last: Mutex::new(Ok(contents.fingerprint())),
            files,
            provider,
            current: RwLock::new(Arc::new(certified)),
            reading: tokio::sync::Mutex::default(),
            patience: READ_TIMEOUT,
        })
    }

    /// Reads the files, and takes what is new in them if it can be used. A failure is logged once.
    pub(super) async fn look_again(&self) -> Found {
        let contents = self.files.contents(self.read().await);
        let found = contents.as_ref().map(Contents::fingerprint).map_err(ToString::to_string);
        {
            let mut last = self.last.lock();
            if *last == found {
                return Found::Nothing;
            }
            *last = found;
        }
        match contents.and_then(|contents| self.files.certified(&contents, &self.provider)) {
            Ok(certified) => {
                report_expiry(&certified);
                *self.current.write() = Arc::new(certified);
                counter!(RELOADS, "outcome" => "loaded").increment(1);
                tracing::info!("a new TLS certificate is in use");
                Found::Good
            }
            Err(error) => {
                counter!(RELOADS, "outcome" => "refused").increment(1);
                tracing::error!(error = %error, "the new TLS certificate cannot be used; the one before stays in use");
                Found::Bad
            }
        }
    }
}

impl Certificate {
    /// A disk that does not answer must not end the looking: the next time it may.
    async fn read(&self) -> Read {
        let mut reading = self.reading.lock().await;
        let files = self.files.clone();
        let under_way = reading.get_or_insert_with(|| spawn_blocking(move || files.read()));
        match timeout(self.patience, &mut *under_way).await {
            Ok(read) => {
                *reading = None;
                read.unwrap_or_else(|error| (Err(error.into()), Err(io::ErrorKind::Other.into())))
            }
            Err(_) => (Err(io::ErrorKind::TimedOut.into()), Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl Files {
    fn read(&self) -> Read {
        (std::fs::read(&self.certificate), std::fs::read(&self.key).map(Zeroizing::new))
    }

    fn contents(&self, (certificate, key): Read) -> Result<Contents, TlsError> {
        let unreadable = |setting, path: &Path| {
            let path = path.to_owned();
            move |error| TlsError::Unreadable(setting, path, error)
        };
        let key = key.map_err(unreadable("tls.key", &self.key));
        let certificate = certificate.map_err(unreadable("tls.certificate", &self.certificate))?;
        Ok(Contents { certificate, key: key? })
    }

    fn certified(&self, contents: &Contents, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let none = || TlsError::NoCertificate(self.certificate.clone());
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&contents.certificate).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(none)?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(|_| TlsError::NoKey(self.key.clone()))?;
        CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::Strangers(self.key.clone()),
            other => TlsError::Unusable(self.certificate.clone(), other),
        })
    }
}

/// Says when the certificate ends that is shown first, our own.
fn report_expiry(certified: &CertifiedKey) {
    let own = certified.cert.first().and_then(|own| x509_cert::Certificate::from_der(own).ok());
    // What others can read and we cannot is no reason not to use it.
    let end = own.map_or(f64::NAN, |own| own.tbs_certificate.validity.not_after.to_unix_duration().as_secs_f64());
    gauge!(EXPIRY).set(end);
}

impl Contents {
    fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        for part in [&self.certificate, &*self.key] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio_rustls::rustls::crypto::ring;

    use super::*;

    fn settings_in(folder: &Path) -> TlsSettings {
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        TlsSettings { certificate, key, handshake_timeout_ms: 1, reload_ms: 1 }
    }

    #[tokio::test]
    async fn what_is_new_is_taken_once_and_what_is_bad_is_told_once_and_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = settings_in(folder.path());
        let issue = || {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
            fs::write(&settings.certificate, made.cert.pem()).expect("written");
            fs::write(&settings.key, made.signing_key.serialize_pem()).expect("written");
            made.cert.der().clone()
        };
        let first = issue();
        let provider = Arc::new(ring::default_provider());
        let certificate = Certificate::load(&settings, provider).expect("usable");
        let shown = || certificate.current.read().cert[0].clone();
        assert_eq!(certificate.look_again().await, Found::Nothing);
        assert_eq!(shown(), first);

        let second = issue();
        assert_eq!([certificate.look_again().await, certificate.look_again().await], [Found::Good, Found::Nothing]);
        assert_eq!(shown(), second);

        let key = fs::read(&settings.key).expect("a key");
        for bad in ["", "no PEM"] {
            fs::write(&settings.key, bad).expect("written");
            assert_eq!([certificate.look_again().await, certificate.look_again().await], [Found::Bad, Found::Nothing]);
        }
        fs::remove_file(&settings.key).expect("removed");
        assert_eq!([certificate.look_again().await, certificate.look_again().await], [Found::Bad, Found::Nothing]);
        assert_eq!(shown(), second);
        fs::write(&settings.key, key).expect("written");
        let third = issue();
        assert_eq!(certificate.look_again().await, Found::Good);
        assert_eq!(shown(), third);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_to_its_end_is_read_once_however_often_is_looked() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = settings_in(folder.path());
        let made = [(); 2].map(|()| rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made"));
        let write_key = |place: usize| fs::write(&settings.key, made[place].signing_key.serialize_pem());
        fs::write(&settings.certificate, made[0].cert.pem()).expect("written");
        write_key(0).expect("written");
        let provider = Arc::new(ring::default_provider());
        let mut certificate = Certificate::load(&settings, provider).expect("usable");
        certificate.patience = Duration::from_millis(10);

        // Opening a pipe waits until somebody writes to it.
        fs::remove_file(&settings.certificate).expect("removed");
        let pipe = std::process::Command::new("mkfifo").arg(&settings.certificate).status().expect("mkfifo runs");
        assert!(pipe.success());
        write_key(1).expect("written");
        assert_eq!([certificate.look_again().await, certificate.look_again().await], [Found::Bad, Found::Nothing]);
        let (path, pem) = (settings.certificate.clone(), made[1].cert.pem());
        spawn_blocking(move || fs::write(path, pem)).await.expect("no panic").expect("somebody reads");
        // The first reading has it: another one would wait for the next writer.
        certificate.patience = READ_TIMEOUT;
        assert_eq!(certificate.look_again().await, Found::Good);
        assert_eq!(certificate.current.read().cert[0], *made[1].cert.der());
    }
}
