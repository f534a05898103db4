//! The node's own certificate, made at the first start, and the TLS of the listener: 1.2 or newer; any client
//! certificate passes the handshake if the client proves that it has the key, and the request layer compares its
//! fingerprint with the pinned ones. Authorities and validity play no part: what counts is what was paired.

use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::{DigitallySignedStruct, DistinguishedName as Hint, Error, SignatureScheme};
use time::{Duration, OffsetDateTime};

use super::files::{self, FileError};
use super::fingerprint::Fingerprint;

/// Pinned by managers, so it must outlive the node.
const CERTIFICATE_DAYS: i64 = 3650;

/// Why there is no certificate to serve with.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    #[error("{path} is damaged; restore it, or remove it and the other .pem file and pair every manager again")]
    Damaged {
        path: String,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error("{missing} is missing beside {present}; restore it, or remove both and pair every manager again")]
    Half { missing: String, present: String },
    #[error("cannot use the certificate")]
    Unusable(#[from] Error),
}

/// Certificate and key of this node.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads the pair from the state folder, or makes and stores it there at the first start.
    pub(super) fn open(state_dir: &Path, hostname: &str) -> Result<Self, TlsError> {
        files::create_folder(state_dir, 0o700)?;
        let (certificate_path, key_path) = (state_dir.join("certificate.pem"), state_dir.join("key.pem"));
        let shown = |path: &Path| path.display().to_string();
        match (files::read(&certificate_path)?, files::read(&key_path)?) {
            (Some(certificate), Some(key)) => Ok(Self {
                certificate: CertificateDer::from_pem_slice(&certificate)
                    .map_err(|source| TlsError::Damaged { path: shown(&certificate_path), source })?,
                key: PrivateKeyDer::from_pem_slice(&key)
                    .map_err(|source| TlsError::Damaged { path: shown(&key_path), source })?,
            }),
            (Some(_), None) => Err(TlsError::Half { missing: shown(&key_path), present: shown(&certificate_path) }),
            // A key without certificate is a first start that was interrupted: nobody has seen the certificate.
            (None, _) => {
                let (made, certificate_pem, key_pem) = Self::make(hostname)?;
                files::write_atomic(&key_path, key_pem.as_bytes(), 0o600)?;
                files::write_atomic(&certificate_path, certificate_pem.as_bytes(), 0o644)?;
                Ok(made)
            }
        }
    }

    fn make(hostname: &str) -> Result<(Self, String, String), TlsError> {
        let mut params = CertificateParams::new(vec![])?;
        // A name of its own per node: clients that look up certificates by subject must not take one for another.
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, format!("ricci on {hostname} {}", uuid::Uuid::new_v4().simple()));
        params.distinguished_name = name;
        let now = OffsetDateTime::now_utc();
        // A day back, for managers whose clock is behind.
        params.not_before = now - Duration::days(1);
        params.not_after = now + Duration::days(CERTIFICATE_DAYS);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let (certificate_pem, key_pem) = (certificate.pem(), key.serialize_pem());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok((Self { certificate: certificate.der().clone(), key }, certificate_pem, key_pem))
    }

    /// What an administrator compares when pairing.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// What the listener needs.
    pub(super) fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = provider();
        let verifier = AnyProvenCertificate { algorithms: provider.signature_verification_algorithms };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key())?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Every connection proves the client's key anew.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(config))
    }
}

/// The one place that names the cryptography in use.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Fills a buffer with random bytes fit for keys; false if the system has none.
pub(super) fn fill_random(buffer: &mut [u8]) -> bool {
    provider().secure_random.fill(buffer).is_ok()
}

#[derive(Debug)]
struct AnyProvenCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyProvenCertificate {
    fn client_auth_mandatory(&self) -> bool {
        // Without one, only the liveness answer is given.
        false
    }

    fn root_hint_subjects(&self) -> &[Hint] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // Who it is gets decided per request, by fingerprint, so that unpairing works on open connections too.
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
