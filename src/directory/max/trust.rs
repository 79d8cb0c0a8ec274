//! Which certificates of MAX are believed: those that the system's roots vouch for, and those of `max.ca_file`.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// The TLS of a client: HTTP/1.1, the system's roots where `system` says so, and the PEM file beside them.
///
/// # Errors
/// A sentence for the operator where the file cannot be read or holds no usable certificate, or where there is no root
/// at all to judge MAX by.
pub(super) fn tls(system: bool, ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca_file {
        add_file(&mut roots, path).map_err(|flaw| format!("max.ca_file {}: {flaw}", path.display()))?;
    }
    if system {
        let found = rustls_native_certs::load_native_certs();
        // A system's store may hold an odd certificate or two: those are passed over, as every TLS client does.
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
            return Err(format!("max.url is https, but this system has no root certificates{why}: set max.ca_file"));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| format!("not a certificate authority: {error}"))?;
    }
    if roots.is_empty() { Err("holds no certificate in PEM form".to_owned()) } else { Ok(()) }
}
