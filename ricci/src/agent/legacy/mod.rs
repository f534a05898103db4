//! The original wire protocol of ricci (rhcs.md §7): XML over TLS on the same port, for tools built on it. Spoken only if
//! switched on (`--legacy-protocol on`), and only with clients that name no HTTP version in their handshake.
//!
//! `server` hands over a connection after the handshake. Trust is that of the HTTP interface: pinned certificates,
//! pairing by the password of the user `ricci`, slowed down in the same way; nothing but `authenticate` is done for
//! strangers. Batches are kept on disk while they run and until their report was read.

mod batch;
mod cluster;
mod document;
mod ends;
mod queue;
mod service;
mod xml;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::api::{PairRequest, ProblemCode};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use self::batch::Progress;
use self::ends::Ends;
use self::queue::{Queue, Queued};
use self::xml::Element;
use super::app::App;
use super::files;
use super::fingerprint::Fingerprint;
use super::pairing;

/// Conversations at the same time, as in the original.
const CLIENTS_MAX: usize = 10;
/// For one whole request, and for taking one whole answer.
const RECEIVE_WAIT: Duration = Duration::from_secs(120);
const SEND_WAIT: Duration = Duration::from_secs(120);
const PIECE: usize = 4 * 1024;
/// A stranger has a password to say; a paired client may send a configuration, with every byte escaped.
const STRANGER_BYTES_MAX: usize = 16 * 1024;
const REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Wrong passwords on one connection; the fourth ends it.
const FAILURES_MAX: u32 = 4;
/// Reports that nobody has asked for yet.
const REPORTS_MAX: usize = 64;

const VERSION: &str = "1.0";

/// For a client that speaks no TLS.
pub(super) const PLAIN_TEXT_REFUSED: &[u8] = b"<SSL_required/>";

/// The numbers of `success` (rhcs.md §7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Success {
    Ok = 0,
    VersionMissing = 1,
    VersionUnsupported = 2,
    FunctionMissing = 3,
    FunctionUnknown = 4,
    AuthenticationRequired = 5,
    InternalError = 6,
    AuthenticationFailed = 10,
    BatchMissing = 11,
    BatchIdWrong = 12,
}

/// What all conversations share.
#[derive(Debug)]
pub(super) struct Legacy {
    clients: Semaphore,
    queue: Queue,
    reports: Mutex<Reports>,
}

/// Batches by id.
#[derive(Debug, Default)]
struct Reports {
    last_id: u64,
    known: BTreeMap<u64, Arc<Mutex<Element>>>,
}

impl Legacy {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self { clients: Semaphore::new(CLIENTS_MAX), queue: Queue::at(state_dir), reports: Mutex::default() }
    }

    fn reports(&self) -> MutexGuard<'_, Reports> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more report, and its id. Whoever never asks for a report must not fill the memory.
    fn place(&self, report: &Arc<Mutex<Element>>) -> (u64, Vec<u64>) {
        let mut reports = self.reports();
        let mut dropped = Vec::new();
        while reports.known.len() >= REPORTS_MAX {
            // One that has ended if there is any: what is under way will be asked for.
            let has_ended =
                |report: &Mutex<Element>| batch::has_ended(&report.lock().unwrap_or_else(PoisonError::into_inner));
            let oldest = reports.known.iter().find(|(_, report)| has_ended(report)).or(reports.known.first_key_value());
            let Some(id) = oldest.map(|(id, _)| *id) else { break };
            reports.known.remove(&id);
            dropped.push(id);
        }
        reports.last_id += 1;
        let id = reports.last_id;
        reports.known.insert(id, Arc::clone(report));
        (id, dropped)
    }
}

/// At start: takes up the batches that had not ended.
pub(super) async fn resume(app: &Arc<App>) {
    let queue = app.legacy.queue.clone();
    let (last_id, found) = files::off_loop(move || queue.load()).await;
    app.legacy.reports().last_id = last_id;
    for (id, Queued { origin, batch, report }) in found {
        let has_ended = batch::has_ended(&report);
        let report = Arc::new(Mutex::new(report));
        app.legacy.reports().known.insert(id, Arc::clone(&report));
        if !has_ended {
            tracing::info!(id, origin, "batch of the original protocol taken up again");
            let progress = Progress { id, queue: app.legacy.queue.clone(), origin, batch, report };
            let app = Arc::clone(app);
            tokio::spawn(async move { batch::run(&app, &progress).await });
        }
    }
}

/// Talks with one client until either side has enough.
pub(super) async fn converse<S>(
    app: &Arc<App>,
    stream: S,
    address: SocketAddr,
    certificate: Option<Fingerprint>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut session = Session { app, stream, address, failures: 0, certificate: certificate.clone() };
    let Ok(_place) = app.legacy.clients.try_acquire() else {
        return session.send("overload - come back later").await;
    };
    let Some(_) = certificate else {
        return session.send(&Element::new("Clients_SSL_certificate_required").render()).await;
    };
    session.greet().await?;
    while let Some(request) = session.receive().await? {
        if session.answer(&request).await? {
            break;
        }
    }
    Ok(())
}

struct Session<'a, S> {
    app: &'a Arc<App>,
    stream: S,
    address: SocketAddr,
    failures: u32,
    certificate: Option<Fingerprint>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    fn is_paired(&self) -> bool {
        self.certificate.as_ref().is_some_and(|certificate| self.app.pins.find(certificate).is_some())
    }

    async fn send(&mut self, text: &str) -> io::Result<()> {
        let until = Instant::now() + SEND_WAIT;
        let late = || io::Error::new(io::ErrorKind::TimedOut, "the client takes no answer");
        timeout_at(until, self.stream.write_all(text.as_bytes())).await.map_err(|_| late())??;
        timeout_at(until, self.stream.flush()).await.map_err(|_| late())?
    }

    /// The server speaks first. What the node is, strangers are not told.
    async fn greet(&mut self) -> io::Result<()> {
        let paired = self.is_paired();
        let cluster = match super::conf::on_disk(self.app).await {
            Ok(Some(conf)) => conf.cluster,
            Ok(None) | Err(_) => String::new(),
        };
        let mut hello = Element::new("ricci")
            .with("version", VERSION)
            .with("authenticated", paired.to_string())
            .with("hostname", &self.app.hostname)
            .with("clustername", &cluster)
            .with("clusteralias", &cluster);
        if paired {
            hello = hello.with("os", os_name()).with("xen_host", "false");
        }
        self.send(&hello.render()).await
    }

    /// Bytes until they are one document. `None`: the client left, or was too slow.
    async fn receive(&mut self) -> io::Result<Option<Element>> {
        let until = Instant::now() + RECEIVE_WAIT;
        let limit = if self.is_paired() { REQUEST_BYTES_MAX } else { STRANGER_BYTES_MAX };
        let (mut bytes, mut piece, mut ends) = (Vec::new(), [0; PIECE], Ends::default());
        while bytes.len() <= limit {
            let mut stopping = self.app.stopping.clone();
            let read = tokio::select! {
                read = timeout_at(until, self.stream.read(&mut piece)) => read,
                _ = stopping.wait_for(|stopping| *stopping) => return Ok(None),
            };
            let count = match read {
                Err(_) => break,
                Ok(count) => count?,
            };
            if count == 0 {
                return Ok(None);
            }
            bytes.extend_from_slice(&piece[..count]);
            if ends.feed(&piece[..count]) {
                match xml::parse(&bytes) {
                    Some(document) => return Ok(Some(document)),
                    // It has ended and is none: nothing that follows could mend it.
                    None => break,
                }
            }
        }
        self.send(&Element::new("Timeout_reached_without_valid_XML_request").render()).await?;
        Ok(None)
    }

    /// Answers one request; true if that ended the conversation.
    async fn answer(&mut self, request: &Element) -> io::Result<bool> {
        if request.name != "ricci" {
            self.send(&Element::new("not_ricci_message").render()).await?;
            return Ok(true);
        }
        let (success, content, ends) = self.carry_out(request).await;
        let mut reply = Element::new("ricci").with("version", VERSION).with("success", (success as u8).to_string());
        reply.children = content;
        if ends {
            reply = reply.holding(Element::new("bye"));
        }
        self.send(&reply.render()).await?;
        Ok(ends)
    }

    async fn carry_out(&mut self, request: &Element) -> (Success, Vec<Element>, bool) {
        let only = |success| (success, Vec::new(), false);
        match request.attribute("version") {
            None => return only(Success::VersionMissing),
            Some(VERSION) => {}
            Some(_) => return only(Success::VersionUnsupported),
        }
        let Some(function) = request.attribute("function") else { return only(Success::FunctionMissing) };
        if function == "authenticate" {
            return self.authenticate(request.attribute("password").unwrap_or_default()).await;
        }
        // The original rebooted for whoever asked.
        if !self.is_paired() {
            return only(Success::AuthenticationRequired);
        }
        match function {
            "unauthenticate" => self.unauthenticate().await,
            "list_modules" => {
                let modules = batch::MODULES.iter().map(|name| Element::new("module").with("name", *name));
                (Success::Ok, modules.collect(), false)
            }
            "process_batch" => self.process_batch(request).await,
            "batch_report" => self.report(request).await,
            "self_fence" | "force_reboot" => {
                let kind = shared::api::HostOperationKind::Reboot;
                match self.app.operations.begin(self.app, kind, false, &self.origin()).await {
                    Ok(()) => (Success::Ok, Vec::new(), true),
                    Err(_) => only(Success::InternalError),
                }
            }
            _ => only(Success::FunctionUnknown),
        }
    }

    fn origin(&self) -> String {
        format!("legacy client {}", self.address.ip())
    }

    async fn authenticate(&mut self, password: &str) -> (Success, Vec<Element>, bool) {
        let Some(certificate) = self.certificate.clone().filter(|_| !self.is_paired()) else {
            return (Success::Ok, Vec::new(), false);
        };
        let label = self.origin();
        let request = if is_token(password) {
            PairRequest::Token { token: password.to_owned(), label }
        } else {
            PairRequest::Password { password: password.to_owned(), label }
        };
        match pairing::pair(self.app, self.address.ip(), certificate, request).await {
            Ok(()) => (Success::Ok, Vec::new(), false),
            Err(error) if matches!(error.code(), ProblemCode::PairingRefused | ProblemCode::TooManyAttempts) => {
                self.failures += 1;
                (Success::AuthenticationFailed, Vec::new(), self.failures >= FAILURES_MAX)
            }
            Err(_) => (Success::InternalError, Vec::new(), false),
        }
    }

    async fn unauthenticate(&mut self) -> (Success, Vec<Element>, bool) {
        let Some(certificate) = &self.certificate else { return (Success::InternalError, Vec::new(), false) };
        match self.app.pins.remove(certificate).await {
            Ok(_) => (Success::Ok, Vec::new(), false),
            Err(_) => (Success::InternalError, Vec::new(), false),
        }
    }

    async fn process_batch(&mut self, request: &Element) -> (Success, Vec<Element>, bool) {
        let Some(batch) = request.child("batch") else { return (Success::BatchMissing, Vec::new(), false) };
        let (origin, batch) = (self.origin(), batch.clone());
        let queued = Queued { report: batch::scheduled(&batch), origin: origin.clone(), batch: batch.clone() };
        let report = Arc::new(Mutex::new(queued.report.clone()));
        let (id, dropped) = self.app.legacy.place(&report);
        let queue = self.app.legacy.queue.clone();
        for old in dropped {
            queue.forget(old).await;
        }
        // On disk before anybody hears of it.
        if let Err(error) = queue.add(id, &queued).await {
            tracing::error!(error = shared::chain(&error), "a batch is refused because it cannot be kept");
            self.app.legacy.reports().known.remove(&id);
            return (Success::InternalError, Vec::new(), false);
        }
        let app = Arc::clone(self.app);
        let progress = Progress { id, queue, origin, batch, report: Arc::clone(&report) };
        // A task of its own: what was begun goes on if the client leaves.
        let task = tokio::spawn(async move { batch::run(&app, &progress).await });
        if request.attribute("async") != Some("true") && task.await.is_err() {
            return (Success::InternalError, Vec::new(), false);
        }
        (Success::Ok, vec![self.take_report(id, &report).await], false)
    }

    /// The report as it is now; one that is finished is forgotten once it was read.
    async fn take_report(&self, id: u64, report: &Mutex<Element>) -> Element {
        let mut told = report.lock().unwrap_or_else(PoisonError::into_inner).clone();
        told.attributes.insert(0, ("batch_id".to_owned(), id.to_string()));
        if batch::has_ended(&told) {
            self.app.legacy.reports().known.remove(&id);
            self.app.legacy.queue.forget(id).await;
        }
        told
    }

    async fn report(&self, request: &Element) -> (Success, Vec<Element>, bool) {
        let wrong = (Success::BatchIdWrong, Vec::new(), false);
        let Some(id) = request.attribute("batch_id").and_then(|id| id.parse().ok()) else { return wrong };
        let known = self.app.legacy.reports().known.get(&id).cloned();
        match known {
            Some(report) => (Success::Ok, vec![self.take_report(id, &report).await], false),
            None => wrong,
        }
    }
}

/// What `ricci token` prints, `AAAA-BBBB-CCCC-DDDD`, is taken in place of a password.
fn is_token(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let is_group =
        |group: &&str| group.len() == 4 && group.chars().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase());
    groups.len() == 4 && groups.iter().all(is_group)
}

/// `PRETTY_NAME` of the system.
fn os_name() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map(|name| name.trim_matches('"').to_owned()).unwrap_or_else(|| "Linux".to_owned())
}
