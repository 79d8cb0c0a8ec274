//! Certificates for tests: an authority, and one that it has issued, as files.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// The files of an authority, and of a certificate that it has issued for one name.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The certificate of the authority.
    pub ca: PathBuf,
    /// The certificate.
    pub certificate: PathBuf,
    /// The key of the certificate.
    pub key: PathBuf,
}

impl Certificates {
    /// Makes an authority and a certificate for this name or address.
    pub fn issue(dir: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Each authority has its own name, as real ones do.
        params.distinguished_name.push(DnType::CommonName, format!("the authority of {name}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let file = |kind: &str, text: String| {
            let path = dir.join(format!("{name}-{kind}.pem"));
            std::fs::write(&path, text).unwrap();
            path
        };
        Self {
            ca: file("ca", root.pem()),
            certificate: file("cert", leaf.pem()),
            key: file("key", key.serialize_pem()),
        }
    }

    /// Returns the options of a Redis that shows the certificate, and asks clients for theirs.
    pub fn redis_options(&self) -> Vec<&str> {
        let [ca, certificate, key] = [&self.ca, &self.certificate, &self.key].map(|path| path.to_str().unwrap());
        let files = ["--tls-ca-cert-file", ca, "--tls-cert-file", certificate, "--tls-key-file", key];
        [&files[..], &["--tls-auth-clients", "yes"]].concat()
    }
}
