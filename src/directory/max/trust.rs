//! The certificates that MAX is judged by: the system's roots and those of `max.ca_file`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};

/// Why no certificate of MAX can be judged.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// `max.ca_file` cannot be used.
    #[error("max.ca_file {}: {cause}", path.display())]
    CaFile {
        /// The path of the file.
        path: PathBuf,
        /// The fault of the file.
        cause: CaFileError,
    },
    /// Neither the system nor the file has a root certificate.
    #[error("max.url is https, but this system has no root certificates{}: set max.ca_file", in_brackets(cause))]
    NoRoots {
        /// The first error of reading the system's roots.
        cause: Option<rustls_native_certs::Error>,
    },
    /// The TLS library refuses its own defaults.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// Why a file of certificate authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaFileError {
    /// The file cannot be read, or is not PEM.
    #[error("{0}")]
    Unreadable(pem::Error),
    /// A certificate in it is not usable.
    #[error("not a certificate authority: {0}")]
    NoAuthority(rustls::Error),
    /// There is no certificate in it.
    #[error("holds no certificate in PEM form")]
    Empty,
}

fn in_brackets(cause: &Option<rustls_native_certs::Error>) -> String {
    cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default()
}

/// Returns the TLS configuration of a client of HTTP/1.1 that trusts the certificates of the PEM file, and the system's
/// roots if `system` is set.
///
/// # Errors
/// The file cannot be used, `system` is set and there is no root at all, or the TLS library refuses its own defaults.
pub(super) fn tls(system: bool, ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TrustError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca_file {
        add_file(&mut roots, path).map_err(|cause| TrustError::CaFile { path: path.to_owned(), cause })?;
    }
    if system {
        let found = rustls_native_certs::load_native_certs();
        // The system's store may hold some unusable certificates. Like other TLS clients, we ignore them.
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(TrustError::NoRoots { cause: found.errors.into_iter().next() });
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TrustError::Setup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), CaFileError> {
    for certificate in CertificateDer::pem_file_iter(path).map_err(CaFileError::Unreadable)? {
        roots.add(certificate.map_err(CaFileError::Unreadable)?).map_err(CaFileError::NoAuthority)?;
    }
    if roots.is_empty() { Err(CaFileError::Empty) } else { Ok(()) }
}
