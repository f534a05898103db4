//! A ricci of its own for each test: the real program on a free loopback port with all its folders in a temporary one,
//! managers with certificates of their own, and an rgmanager that answers as the test says.
#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part")]
#![expect(clippy::print_stderr, reason = "a test that cannot be set up fails, and says why")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::{Response, StatusCode};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{DigitallySignedStruct, SignatureScheme};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use shared::api::{Problem, ProblemCode};
use shared::socket::{Ask, Reply};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

/// One node's ricci.
pub struct Node {
    pub folder: TempDir,
    pub extra: Vec<(String, String)>,
    pub process: Option<Child>,
    pub port: u16,
    pub fingerprint: String,
}

impl Node {
    /// A node with a running ricci.
    pub fn start() -> Self {
        let mut node = Self::prepare();
        node.run();
        node
    }

    /// A node whose ricci does not run yet.
    pub fn prepare() -> Self {
        let folder = tempfile::Builder::new().prefix("ricci-test-").tempdir().unwrap();
        for name in ["ocf/resource.d/heartbeat", "fence", "bin"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("boot_id"), "boot-one\n").unwrap();
        Self { folder, extra: Vec::new(), process: None, port: 0, fingerprint: String::new() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn conf_path(&self) -> PathBuf {
        self.path("etc/cluster.conf")
    }

    /// The program with this node's flags.
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ricci"));
        command.args(self.arguments(subcommand)).env_remove("RICCI_LOG");
        command
    }

    pub fn arguments(&self, subcommand: &str) -> Vec<String> {
        let path = |name: &str| self.path(name).display().to_string();
        let flags = [
            ("--listen", "127.0.0.1:0".to_owned()),
            ("--init", "direct".to_owned()),
            ("--state-dir", path("state")),
            ("--conf", path("etc/cluster.conf")),
            ("--corosync-dir", path("etc/corosync")),
            ("--socket", path("rgmanager.sk")),
            ("--cluster-state-dir", path("cluster")),
            ("--run-dir", path("run")),
            ("--log-dir", path("log")),
            ("--ocf-root", path("ocf")),
            ("--fence-dir", path("fence")),
            ("--boot-id-file", path("boot_id")),
            ("--corosync-program", path("bin/corosync")),
            ("--corosync-cfgtool", path("bin/corosync-cfgtool")),
            ("--rgmanager-program", path("bin/rgmanager")),
            ("--reboot-program", path("bin/reboot")),
        ];
        let mut all: Vec<String> = vec![subcommand.to_owned()];
        all.extend(flags.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
        all
    }

    pub fn run(&mut self) {
        let command = self.command("serve");
        self.run_command(command);
    }

    /// Starts ricci and waits until it says where it listens.
    pub fn run_command(&mut self, mut command: Command) {
        let mut child = command.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        loop {
            let Some(line) = lines.next() else { panic!("ricci ended at once: {said:?}") };
            let line = line.unwrap();
            if let Some((_, rest)) = line.split_once("listening address=127.0.0.1:") {
                self.port = rest.split(' ').next().unwrap().parse().unwrap();
                self.fingerprint = rest.split('"').nth(1).unwrap().to_owned();
                break;
            }
            said.push(line);
        }
        // Read on, so that ricci never waits for us; what it says shows when a test fails.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| eprintln!("ricci: {line}")));
        self.process = Some(child);
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut child = self.process.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn token(&self) -> String {
        let output = self.command("token").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A manager that has paired with a token.
    pub async fn paired(&self) -> Manager {
        let manager = Manager::new();
        let response = manager.pair_with_token(self, &self.token()).await;
        assert_eq!(response.status(), StatusCode::OK, "{}", response.text().await.unwrap());
        manager
    }

    /// Installs a program of this node.
    pub fn script(&self, name: &str, text: &str) {
        let path = self.path(name);
        // Written by another process: what a test beside this one forks meanwhile would hold the file open for writing, and
        // then it cannot be executed.
        let mut writer = Command::new("sh")
            .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        writer.stdin.take().unwrap().write_all(format!("#!/bin/sh\n{text}\n").as_bytes()).unwrap();
        assert!(writer.wait().unwrap().success());
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // Daemons that this ricci started and left behind.
        for name in ["corosync", "rgmanager"] {
            let pid_file = self.path("run").join(format!("{name}.pid"));
            let text = std::fs::read_to_string(pid_file).unwrap_or_default();
            let mut words = text.split_whitespace();
            let pid = words.next().and_then(|pid| pid.parse().ok()).and_then(rustix::process::Pid::from_raw);
            if let (Some(pid), Some(started)) = (pid, words.next())
                && start_time(pid.as_raw_nonzero().get()).as_deref() == Some(started)
            {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

fn start_time(pid: i32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(19).map(str::to_owned)
}

/// A management server with a certificate of its own.
pub struct Manager {
    certificate: Option<(CertificateDer<'static>, Vec<u8>)>,
    http1: bool,
    client: std::sync::OnceLock<(String, reqwest::Client)>,
}

impl Manager {
    pub fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["luci".to_owned()]).unwrap().self_signed(&key).unwrap();
        let certificate = Some((certificate.der().clone(), key.serialize_der()));
        Self { certificate, http1: false, client: std::sync::OnceLock::new() }
    }

    pub fn without_certificate() -> Self {
        Self { certificate: None, http1: false, client: std::sync::OnceLock::new() }
    }

    /// The same manager, speaking HTTP/1.1.
    pub fn over_http1(&self) -> Self {
        Self { certificate: self.certificate.clone(), http1: true, client: std::sync::OnceLock::new() }
    }

    /// The same manager after a restart: no connection is kept.
    pub fn restarted(&self) -> Self {
        Self { certificate: self.certificate.clone(), http1: self.http1, client: std::sync::OnceLock::new() }
    }

    /// Someone who copied this manager's certificate, but not its key.
    pub fn with_stolen_certificate(&self) -> Self {
        let (certificate, _) = self.certificate.clone().unwrap();
        let key = rcgen::KeyPair::generate().unwrap().serialize_der();
        Self { certificate: Some((certificate, key)), http1: false, client: std::sync::OnceLock::new() }
    }

    /// As `ricci status` prints it.
    pub fn fingerprint(&self) -> String {
        pairs(&self.certificate.as_ref().unwrap().0)
    }

    /// A client that talks to the node's certificate only.
    pub fn client(&self, node: &Node) -> reqwest::Client {
        let (fingerprint, client) = self.client.get_or_init(|| (node.fingerprint.clone(), self.make_client(node)));
        assert_eq!(fingerprint, &node.fingerprint, "a manager of these tests knows one node");
        client.clone()
    }

    /// How this manager shakes hands with the node, and with no other.
    pub fn tls_config(&self, node: &Node) -> rustls::ClientConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = Pinned { fingerprint: node.fingerprint.clone(), provider: Arc::clone(&provider) };
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        match &self.certificate {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.clone()));
                let key = aws_lc_rs::default_provider().key_provider.load_private_key(key).unwrap();
                // Without the check that both belong together: a thief does not check.
                let shown = CertifiedKey::new(vec![certificate.clone()], key);
                config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)))
            }
        }
    }

    fn make_client(&self, node: &Node) -> reqwest::Client {
        let mut config = self.tls_config(node);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if !self.http1 {
            config.alpn_protocols.insert(0, b"h2".to_vec());
        }
        let builder = reqwest::Client::builder().tls_backend_preconfigured(config).timeout(Duration::from_secs(60));
        if self.http1 { builder.http1_only() } else { builder }.build().unwrap()
    }

    pub async fn pair_with_token(&self, node: &Node, token: &str) -> Response {
        let body = json!({ "with": "token", "token": token, "label": "test manager" });
        self.post(node, "/v1/pair", &body).await
    }

    pub async fn get(&self, node: &Node, path: &str) -> Response {
        self.client(node).get(node.url(path)).send().await.unwrap()
    }

    pub async fn json(&self, node: &Node, path: &str) -> Value {
        let response = self.get(node, path).await;
        assert_eq!(response.status(), StatusCode::OK);
        response.json().await.unwrap()
    }

    pub async fn post(&self, node: &Node, path: &str, body: &Value) -> Response {
        self.client(node).post(node.url(path)).json(body).send().await.unwrap()
    }

    pub async fn put(&self, node: &Node, path: &str, body: &Value) -> Response {
        self.client(node).put(node.url(path)).json(body).send().await.unwrap()
    }

    pub async fn delete(&self, node: &Node, path: &str) -> Response {
        self.client(node).delete(node.url(path)).send().await.unwrap()
    }

    /// Reads the node report until the operation has ended.
    pub async fn operation_ended(&self, node: &Node) -> Value {
        loop {
            let operation = self.json(node, "/v1/node").await["operation"].clone();
            if !operation["ended_ms"].is_null() {
                return operation;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The problem of a response, which must have this status and code.
pub async fn problem(response: Response, status: u16, code: ProblemCode) -> Problem {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let seen = response.status().as_u16();
    let problem: Problem = response.json().await.unwrap();
    assert_eq!((seen, problem.code), (status, code), "{}", problem.text);
    problem
}

#[derive(Debug)]
struct Pinned {
    fingerprint: String,
    provider: Arc<CryptoProvider>,
}

fn pairs(certificate: &CertificateDer<'_>) -> String {
    let pairs: Vec<String> = Sha256::digest(certificate).iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
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
        if pairs(end_entity) == self.fingerprint {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General("another certificate than the node printed".into()))
        }
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

/// An rgmanager that gives to each question the replies that the test names; with none it stays silent.
pub struct FakeRgmanager {
    asked: Arc<Mutex<Vec<Ask>>>,
    task: tokio::task::JoinHandle<()>,
}

impl FakeRgmanager {
    pub fn listen(node: &Node, answer: impl Fn(&Ask) -> Vec<Reply> + Send + Sync + 'static) -> Self {
        let listener = UnixListener::bind(node.path("rgmanager.sk")).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&asked), Arc::new(answer));
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                open.spawn(async move { converse(stream, &seen, &*answer).await });
            }
        });
        Self { asked, task }
    }

    pub fn asked(&self) -> Vec<Ask> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for FakeRgmanager {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn converse(stream: UnixStream, seen: &Mutex<Vec<Ask>>, answer: &(dyn Fn(&Ask) -> Vec<Reply> + Send + Sync)) {
    let (read, mut write) = stream.into_split();
    let mut lines = tokio::io::BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let ask: Ask = serde_json::from_str(&line).unwrap();
        let replies = answer(&ask);
        seen.lock().unwrap().push(ask);
        for reply in replies {
            let mut line = serde_json::to_vec(&reply).unwrap();
            line.push(b'\n');
            if write.write_all(&line).await.is_err() {
                return;
            }
        }
    }
}

/// A node's status with nothing in it.
pub fn empty_status() -> shared::status::ClusterStatus {
    shared::status::ClusterStatus {
        cluster: "one".into(),
        at: shared::ids::Time(1),
        local: shared::ids::NodeId(1),
        phase: shared::status::Phase::Member,
        conf: None,
        quorum: shared::status::Quorum::default(),
        coordinator: None,
        locked: false,
        nodes: Vec::new(),
        services: Vec::new(),
        waits_for_fencing_of: Vec::new(),
    }
}

pub fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}
