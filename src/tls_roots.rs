//! Whom to trust on the way out: the authorities in a file, and why a connection could not be secured.
//!
//! Shared by [`db`](crate::db) and the Redis bus of [`realtime`](crate::realtime), whose libraries bring TLS of their own
//! (rustls both). What is wrong with a setting is said before they see it, and what is wrong with a peer is distinguished
//! from a peer that is away: that one is waited for.

use std::{io, path::Path};

use tokio_rustls::rustls::{
    self,
    pki_types::{CertificateDer, pem::PemObject},
};

/// The certificates (PEM) in a file of those to trust, or what is wrong with it. Reads a small file: for the start only.
///
/// # Errors
///
/// What reads on after the file's name.
pub fn authorities(path: &Path) -> Result<Vec<u8>, String> {
    let content = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(content),
        Ok(_) | Err(_) => Err("holds no certificate in PEM (BEGIN CERTIFICATE)".to_owned()),
    }
}

/// What TLS found wrong, if that is why a connection failed.
pub fn tls_failure(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}
