//! Certificates: luci's own (server and client), made once, and the verifier that trusts exactly one certificate of a
//! node. The only room that names the cryptography provider.

use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};

use crate::tokens;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("making a certificate")]
    Make(#[from] rcgen::Error),
    #[error("file {path}")]
    File { path: PathBuf, source: io::Error },
    #[error("{path} holds no usable certificate or key")]
    Pem { path: PathBuf, source: rustls_pki_types::pem::Error },
    #[error("TLS settings")]
    Rustls(#[from] rustls::Error),
}

/// A certificate with its key.
#[derive(Debug)]
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { certificate: self.certificate.clone(), key: self.key.clone_key() }
    }
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Browsers see it.
    Server,
    /// Nodes pin it.
    Client,
}

/// One for all: each node's connection would hold its own otherwise.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

/// SHA-256 of a certificate, lower-case hexadecimal.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    tokens::hex(&Sha256::digest(certificate.as_ref()))
}

/// A fingerprint as people compare it: `AB:CD:…`.
pub fn spoken_fingerprint(fingerprint: &str) -> String {
    let pairs: Vec<String> =
        fingerprint.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).to_uppercase()).collect();
    pairs.join(":")
}

/// Reads `<stem>.crt` and `<stem>.key` in `dir`; makes both if there are none.
pub fn load_or_make(dir: &Path, stem: &str, host_name: &str, purpose: Purpose) -> Result<Identity, TlsError> {
    let certificate_path = dir.join(format!("{stem}.crt"));
    let key_path = dir.join(format!("{stem}.key"));
    // The certificate is written last, so its presence says that both are whole.
    if !certificate_path.exists() {
        make(&certificate_path, &key_path, host_name, purpose)?;
    }
    let certificate = CertificateDer::from_pem_file(&certificate_path)
        .map_err(|source| TlsError::Pem { path: certificate_path, source })?;
    let key = PrivateKeyDer::from_pem_file(&key_path).map_err(|source| TlsError::Pem { path: key_path, source })?;
    Ok(Identity { certificate, key })
}

fn make(certificate_path: &Path, key_path: &Path, host_name: &str, purpose: Purpose) -> Result<(), TlsError> {
    let mut params = CertificateParams::default();
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::days(1);
    params.not_after = now + Duration::days(3650);
    params.distinguished_name = DistinguishedName::new();
    match purpose {
        Purpose::Server => {
            params.distinguished_name.push(DnType::CommonName, format!("luci on {host_name}"));
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.subject_alt_names = alternative_names(host_name)?;
        }
        Purpose::Client => {
            params.distinguished_name.push(DnType::CommonName, format!("luci client on {host_name}"));
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }
    }
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    write(key_path, 0o600, &key.serialize_pem())?;
    write(certificate_path, 0o644, &certificate.pem())
}

fn alternative_names(host_name: &str) -> Result<Vec<SanType>, TlsError> {
    let mut names = vec![
        SanType::DnsName("localhost".try_into()?),
        SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()),
        SanType::IpAddress(std::net::Ipv6Addr::LOCALHOST.into()),
    ];
    match host_name.parse() {
        Ok(address) => names.push(SanType::IpAddress(address)),
        Err(_) => names.push(SanType::DnsName(host_name.try_into()?)),
    }
    Ok(names)
}

fn write(path: &Path, mode: u32, text: &str) -> Result<(), TlsError> {
    let fail = |source| TlsError::File { path: path.to_owned(), source };
    let temporary = path.with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary).map_err(fail)?;
    file.set_permissions(fs::Permissions::from_mode(mode)).map_err(fail)?;
    io::Write::write_all(&mut file, text.as_bytes()).map_err(fail)?;
    file.sync_all().map_err(fail)?;
    fs::rename(&temporary, path).map_err(fail)
}

/// For browsers.
pub fn server_config(identity: &Identity) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate.clone()], identity.key.clone_key())?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// For a node whose certificate is known.
pub fn pinned_config(identity: &Identity, fingerprint: &str) -> Result<ClientConfig, TlsError> {
    client_config(identity, Arc::new(Pinned { fingerprint: fingerprint.to_owned(), provider: provider() }))
}

/// For the first look at a node: accepts any certificate and keeps its fingerprint. Nothing secret may be sent over it.
pub fn looking_config(identity: &Identity) -> Result<(ClientConfig, Seen), TlsError> {
    let seen = Seen::default();
    let config = client_config(identity, Arc::new(Looking { seen: seen.clone(), provider: provider() }))?;
    Ok((config, seen))
}

fn client_config(identity: &Identity, verifier: Arc<dyn ServerCertVerifier>) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(vec![identity.certificate.clone()], identity.key.clone_key())?;
    // One HTTP/2 connection per node carries everything, and its pings notice a node that lost its power.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Each node has settings of its own and is one server; room for 256 is what rustls sets aside.
    config.resumption = Resumption::in_memory_sessions(1);
    Ok(config)
}

/// The fingerprint that a looking connection has seen.
#[derive(Debug, Clone, Default)]
pub struct Seen(Arc<Mutex<Option<String>>>);

impl Seen {
    pub fn fingerprint(&self) -> Option<String> {
        self.0.lock().ok().and_then(|seen| seen.clone())
    }
}

/// Trusts one certificate, by its fingerprint. Names and dates do not matter: the certificate was confirmed by a person.
#[derive(Debug)]
struct Pinned {
    fingerprint: String,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
struct Looking {
    seen: Seen,
    provider: Arc<CryptoProvider>,
}

macro_rules! signatures_by_provider {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.provider.signature_verification_algorithms.supported_schemes()
        }
    };
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if tokens::same(&fingerprint(end_entity), &self.fingerprint) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure))
        }
    }

    signatures_by_provider!();
}

impl ServerCertVerifier for Looking {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Ok(mut seen) = self.seen.0.lock() {
            *seen = Some(fingerprint(end_entity));
        }
        Ok(ServerCertVerified::assertion())
    }

    signatures_by_provider!();
}
