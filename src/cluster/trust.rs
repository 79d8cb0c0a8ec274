//! The authorities that encrypted connections to Redis and to RabbitMQ trust.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

/// Begins a TLS configuration that trusts the authorities of a file, or those of the system. Errors name the settings
/// of `table`, whose URL has this `scheme`.
///
/// # Errors
/// The file cannot be read or has no certificate, or the system has none. The text says what to change.
pub fn client(
    ca_file: Option<&Path>,
    table: &str,
    scheme: &str,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, Arc<str>> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca_file {
        let setting = format!("{table}.ca_file");
        for certificate in certificates(path, &setting)? {
            let added = roots.add(certificate);
            added.map_err(|error| Arc::from(format!("{setting} {}: {error}", path.display())))?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            let why = format!("{table}.url is {scheme}, but this system has no root certificates: set {table}.ca_file");
            return Err(why.into());
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Arc::from(format!("TLS cannot be set up: {error}")))?;
    Ok(builder.with_root_certificates(roots))
}

/// Reads the certificates of the file that a setting names.
///
/// # Errors
/// It cannot be read, or has none.
pub fn certificates(path: &Path, setting: &str) -> Result<Vec<CertificateDer<'static>>, Arc<str>> {
    let wrong = |error: &dyn fmt::Display| Arc::from(format!("{setting} {}: {error}", path.display()));
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = read.map_err(|error| wrong(&error))?;
    if all.is_empty() { Err(wrong(&"holds no certificate in PEM form")) } else { Ok(all) }
}
