//! The ricci of one node, for `ccs -h`: met once, pinned afterwards, paired with the password of the user `ricci` or
//! a one-time token when it does not know this user yet. Every call has a deadline; errors say what to do next.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::{Client, Method};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use shared::api::{Alive, NodeReport, PORT, PairRequest, Paired, Problem, ProblemCode, path};
use tokio::runtime::Runtime;

use super::fault::Fault;
use super::home::{Home, Identity};
use crate::cli::console::{complain, read_line};

/// A connection that takes longer is not going to work.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Questions that ricci answers from what it knows.
pub(super) const QUICK: Duration = Duration::from_secs(10);
/// Work on the node: pairing asks PAM, all members store a version.
pub(super) const SLOW: Duration = Duration::from_secs(60);
/// Longest answer that is read.
const ANSWER_MAX_BYTES: usize = 8 * 1024 * 1024;

/// How a node that does not know this user yet is told to.
#[derive(Debug, Clone, Default)]
pub(super) struct Credentials {
    pub(super) password: Option<String>,
    pub(super) token: Option<String>,
    pub(super) debug: bool,
}

/// What came of a call that reached ricci.
pub(super) enum CallError {
    /// ricci understood and said no.
    Problem(Box<Problem>),
    /// There is no answer to go by.
    Other(Fault),
}

impl CallError {
    pub(super) fn code(&self) -> Option<ProblemCode> {
        match self {
            Self::Problem(problem) => Some(problem.code),
            Self::Other(_) => None,
        }
    }

    pub(super) fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            Self::Other(_) => None,
        }
    }

    /// In words, with the findings if there are any.
    pub(super) fn into_fault(self, host: &str) -> Fault {
        match self {
            Self::Other(fault) => fault,
            Self::Problem(problem) => {
                let mut text = format!("{host}: {}", problem.text);
                for finding in problem.findings.iter().take(20) {
                    let place = &finding.place;
                    text.push_str(&format!("\n{}:{}: {}; {}", place.line, place.column, finding.text, finding.hint));
                }
                Fault::new(text)
            }
        }
    }
}

/// A connection to one node.
#[derive(Debug)]
pub(super) struct Remote {
    /// As the user named it.
    pub(super) host: String,
    /// With its port.
    pub(super) address: String,
    client: Client,
    runtime: Runtime,
    debug: bool,
}

impl Remote {
    /// Meets the node, and pairs if it does not know us.
    pub(super) fn open(home: &Home, host: &str, credentials: &Credentials) -> Result<Self, Fault> {
        let address = address(host);
        let identity = home.identity()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Fault::new(format!("cannot use the network: {error}")))?;
        let known = home.fingerprint(&address)?;
        let trust = match &known {
            Some(fingerprint) => Trust::Pinned(fingerprint.clone()),
            None => Trust::Looking(Arc::default()),
        };
        let client = build(&identity, trust.clone())?;
        let mut remote = Self { host: host.to_owned(), address, client, runtime, debug: credentials.debug };
        let mut fingerprint = known.clone();
        if let Trust::Looking(seen) = &trust {
            let alive: Alive = remote.fetch(Method::GET, path::ALIVE, None::<&()>, QUICK)?;
            let seen = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
            if alive.program != "ricci" || seen.is_none() {
                return Err(Fault::new(format!("what answers at {} is not ricci", remote.address)));
            }
            // From here on only this certificate counts; nothing secret was sent before.
            remote.client = build(&identity, Trust::Pinned(seen.clone().unwrap_or_default()))?;
            fingerprint = seen;
        }
        remote.pair_if_needed(credentials)?;
        if known.is_none()
            && let Some(fingerprint) = fingerprint
        {
            home.remember(&remote.address, &fingerprint)?;
        }
        Ok(remote)
    }

    fn pair_if_needed(&self, credentials: &Credentials) -> Result<(), Fault> {
        match self.call::<NodeReport>(Method::GET, path::NODE, None::<&()>, QUICK) {
            Ok(_) => return Ok(()),
            Err(error) if error.code() == Some(ProblemCode::NotPaired) => {}
            Err(error) => return Err(error.into_fault(&self.host)),
        }
        let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let label = format!("ccs of {} on {hostname}", crate::cli::operator());
        let request = match (&credentials.token, &credentials.password) {
            (Some(token), _) => PairRequest::Token { token: token.clone(), label },
            (None, Some(password)) => PairRequest::Password { password: password.clone(), label },
            (None, None) => PairRequest::Password { password: ask_password(&self.host)?, label },
        };
        match self.call::<Paired>(Method::POST, path::PAIR, Some(&request), SLOW) {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some(ProblemCode::PairingRefused) => {
                let why = error.into_fault(&self.host).text;
                Err(Fault::new(format!("Unable to authenticate with ricci node, please check password. ({why})")))
            }
            Err(error) => Err(error.into_fault(&self.host)),
        }
    }

    /// A call whose every failure is the end.
    pub(super) fn fetch<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + ?Sized)>,
        limit: Duration,
    ) -> Result<T, Fault> {
        self.call(method, path, body, limit).map_err(|error| error.into_fault(&self.host))
    }

    /// One call. An answer without body reads as `null`.
    pub(super) fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + ?Sized)>,
        limit: Duration,
    ) -> Result<T, CallError> {
        let begun = Instant::now();
        let what = format!("{method} {path}");
        let mut request = self.client.request(method, format!("https://{}{path}", self.address)).timeout(limit);
        if let Some(body) = body {
            request = request.json(body);
        }
        let (status, bytes) =
            self.runtime.block_on(read_answer(request)).map_err(|error| CallError::Other(self.silent(&error)))?;
        if self.debug {
            // Bodies may hold passwords and are never shown.
            complain(&format!(
                "{what} at {}: {status}, {} bytes, {} ms",
                self.address,
                bytes.len(),
                begun.elapsed().as_millis()
            ));
        }
        let strange = || {
            CallError::Other(Fault::new(format!(
                "{} answered in a way that ccs does not understand ({status}); are both of the same release?",
                self.host
            )))
        };
        if !status.is_success() {
            let problem = serde_json::from_slice(&bytes).map_err(|_| strange())?;
            return Err(CallError::Problem(problem));
        }
        let bytes: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
        serde_json::from_slice(bytes).map_err(|_| strange())
    }

    fn silent(&self, error: &reqwest::Error) -> Fault {
        let chain = shared::chain(error);
        if chain.contains(OTHER_CERTIFICATE) {
            return Fault::new(format!(
                "{} shows another certificate than when ccs first met it; if ricci was reinstalled there, remove the line {} from ~/.ccs/known_nodes, otherwise somebody is in between",
                self.host, self.address
            ));
        }
        if error.is_timeout() && !error.is_connect() {
            return Fault::new(format!("{} did not answer in time", self.host));
        }
        Fault::new(format!("Unable to connect to {}, make sure the ricci server is started. ({chain})", self.host))
    }
}

async fn read_answer(request: reqwest::RequestBuilder) -> Result<(reqwest::StatusCode, Vec<u8>), reqwest::Error> {
    let mut answer = request.send().await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > ANSWER_MAX_BYTES {
            // Cut off, it is no JSON, and is refused as such.
            break;
        }
    }
    Ok((answer.status(), bytes))
}

/// `host`, `host:port`, `[::1]`, `[::1]:port` or a bare IPv6 address, with the port.
pub(super) fn address(host: &str) -> String {
    match host.rsplit_once(':') {
        Some((before, port)) if port.parse::<u16>().is_ok() && (!before.contains(':') || before.ends_with(']')) => {
            host.to_owned()
        }
        Some(_) if !host.starts_with('[') => format!("[{host}]:{PORT}"),
        _ => format!("{host}:{PORT}"),
    }
}

/// Without echo on a terminal; from a pipe as it comes.
fn ask_password(host: &str) -> Result<String, Fault> {
    let stdin = std::io::stdin();
    let answer = if stdin.is_terminal() {
        // Nobody can be asked when stderr is gone; then the empty line is no password.
        let _ = write!(std::io::stderr(), "{host} password: ");
        let shown = rustix::termios::tcgetattr(&stdin).ok();
        if let Some(mut hidden) = shown.clone() {
            hidden.local_modes.remove(rustix::termios::LocalModes::ECHO);
            // If it cannot be hidden, it is still typed.
            let _ = rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Flush, &hidden);
        }
        let answer = read_line();
        if let Some(shown) = shown {
            let _ = rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Flush, &shown);
        }
        complain("");
        answer
    } else {
        read_line()
    };
    answer.ok_or_else(|| {
        Fault::new(format!(
            "Error: Not yet authenticated with {host} (try -p option, or --token with what 'ricci token' prints there)"
        ))
    })
}

fn build(identity: &Identity, trust: Trust) -> Result<Client, Fault> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier { trust, provider: Arc::clone(&provider) };
    let failed = |error: &dyn std::error::Error| Fault::new(format!("cannot use TLS: {error}"));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(vec![identity.certificate.clone()], identity.key.clone_key())
        .map_err(|error| failed(&error))?;
    // A ricci that also speaks the original protocol takes a client that names none for one of that.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Client::builder()
        .tls_backend_preconfigured(config)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_LIMIT)
        .build()
        .map_err(|error| failed(&error))
}

/// In the error of a handshake that ended because of it.
const OTHER_CERTIFICATE: &str = "another certificate than the pinned one";

/// Which certificate is the right one.
#[derive(Debug, Clone)]
enum Trust {
    /// The one with this SHA-256.
    Pinned(String),
    /// Any; it is kept here. Nothing secret may be sent.
    Looking(Arc<Mutex<Option<String>>>),
}

/// Names and dates of certificates play no part: what counts is whom we met.
#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let bytes: Vec<String> = Sha256::digest(end_entity).iter().map(|byte| format!("{byte:02X}")).collect();
        let fingerprint = bytes.join(":");
        match &self.trust {
            Trust::Pinned(pinned) if *pinned == fingerprint => {}
            Trust::Pinned(_) => return Err(rustls::Error::General(OTHER_CERTIFICATE.into())),
            Trust::Looking(seen) => {
                *seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(fingerprint);
            }
        }
        Ok(ServerCertVerified::assertion())
    }

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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_gets_the_port_of_ricci_unless_it_names_one() {
        for (host, expected) in [
            ("node1", "node1:11111"),
            ("10.0.0.1:2222", "10.0.0.1:2222"),
            ("fd00::1", "[fd00::1]:11111"),
            ("[fd00::1]", "[fd00::1]:11111"),
            ("[fd00::1]:2222", "[fd00::1]:2222"),
        ] {
            assert_eq!(address(host), expected);
        }
    }
}
