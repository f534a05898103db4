//! The listener: accepts, shakes hands, learns who it is by the certificate, and serves HTTP/1.1 or HTTP/2. Everything is
//! bounded: strangers in total and per address, paired connections, handshake, heads, idle time, stalled writes. What
//! strangers do never takes a place from paired managers.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::server::ServerConfig;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::app::App;
use super::fingerprint::Fingerprint;
use super::legacy;
use super::options::Switch;
use super::routes::{Caller, router};
use super::stall::{StallGuard, WRITE_STALL};

/// Connections before pairing or before their handshake, in all and from one address.
const STRANGERS_MAX: usize = 64;
const STRANGERS_PER_ADDRESS: usize = 16;
/// Connections of paired managers.
const PAIRED_MAX: usize = 256;
/// The first byte of every TLS connection.
const TLS_HANDSHAKE: u8 = 22;
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);
/// A stranger has pairing to do and nothing else; PAM may take its time.
const STRANGER_LIFE: Duration = Duration::from_secs(45);
/// Head of a request, and idle time of HTTP/1.
const HEAD_WAIT: Duration = Duration::from_secs(30);
/// HTTP/2: a silent peer is asked whether it lives.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_WAIT: Duration = Duration::from_secs(20);
const HEAD_MAX: usize = 32 * 1024;
const H2_STREAMS_MAX: u32 = 64;
/// What is under way may end when ricci stops.
const DRAIN_WAIT: Duration = Duration::from_secs(5);
/// After a failed accept (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds; `[::]` means IPv4 as well, and IPv4 alone where IPv6 is off.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match bind_exactly(address) {
        Err(error) if address.is_ipv6() && address.ip().is_unspecified() => {
            tracing::info!(%error, "no IPv6 here, listening on IPv4");
            bind_exactly(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        outcome => outcome,
    }
}

fn bind_exactly(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if address.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, false)?;
    }
    // A restart must not wait for connections of before to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(128)
}

/// What every connection needs.
struct Doors {
    app: Arc<App>,
    router: Router,
    acceptor: TlsAcceptor,
    strangers: Arc<Semaphore>,
    paired: Arc<Semaphore>,
    per_address: Mutex<HashMap<IpAddr, usize>>,
}

impl Doors {
    fn is_paired(&self, certificate: &Option<Fingerprint>) -> bool {
        certificate.as_ref().is_some_and(|certificate| self.app.pins.find(certificate).is_some())
    }
}

/// Serves until `stopping` becomes true, then lets what is under way end.
pub(super) async fn serve(
    app: Arc<App>,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    mut stopping: watch::Receiver<bool>,
) {
    let doors = Arc::new(Doors {
        router: router(&app),
        app,
        acceptor: TlsAcceptor::from(tls),
        strangers: Arc::new(Semaphore::new(STRANGERS_MAX)),
        paired: Arc::new(Semaphore::new(PAIRED_MAX)),
        per_address: Mutex::default(),
    });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    // IPv4 callers of an IPv6 socket are shown, and counted, as what they are.
                    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
                    admit(&doors, &mut connections, stream, address);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_ended) = connections.join_next() => {}
            _ = stopping.wait_for(|stopping| *stopping) => break,
        }
    }
    drop(listener);
    let drained = timeout(DRAIN_WAIT, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::info!(connections = connections.len(), "closing connections that are still open");
    }
}

/// Gives a connection a stranger's place, or closes it.
fn admit(doors: &Arc<Doors>, connections: &mut JoinSet<()>, stream: TcpStream, address: SocketAddr) {
    let place = Arc::clone(&doors.strangers).try_acquire_owned().ok();
    let Some((place, seat)) = place.zip(Seat::take(doors, address.ip())) else {
        tracing::debug!(%address, "closed at once: too many strangers");
        return;
    };
    let doors = Arc::clone(doors);
    connections.spawn(async move {
        if let Err(error) = converse(&doors, stream, address, place, seat).await {
            tracing::debug!(%address, %error, "connection ended");
        }
    });
}

/// One of the few places that an address has while it is a stranger.
struct Seat {
    doors: Arc<Doors>,
    address: IpAddr,
}

impl Seat {
    fn take(doors: &Arc<Doors>, address: IpAddr) -> Option<Self> {
        let mut taken = doors.per_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(address).or_default();
        if *count >= STRANGERS_PER_ADDRESS {
            return None;
        }
        *count += 1;
        Some(Self { doors: Arc::clone(doors), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.doors.per_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

/// The whole life of a connection.
async fn converse(
    doors: &Arc<Doors>,
    stream: TcpStream,
    address: SocketAddr,
    place: OwnedSemaphorePermit,
    seat: Seat,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let speaks_legacy = doors.app.options.legacy_protocol == Switch::On;
    if speaks_legacy && refuse_plain_text(&stream).await? {
        return Ok(());
    }
    let guarded = StallGuard::new(stream, WRITE_STALL);
    let tls = timeout(HANDSHAKE_WAIT, doors.acceptor.accept(guarded))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long"))??;
    let session = tls.get_ref().1;
    let certificate = session.peer_certificates().and_then(|chain| chain.first()).map(|der| Fingerprint::of(der));
    if speaks_legacy && session.alpn_protocol().is_none() {
        return legacy::converse(&doors.app, tls, address, certificate).await;
    }
    let http2 = session.alpn_protocol() == Some(b"h2");
    let caller = Caller { address, certificate: certificate.clone() };
    let service = TowerToHyperService::new(doors.router.clone().layer(Extension(caller)));
    let builder = builder(http2);
    let connection = builder.serve_connection(TokioIo::new(tls), service);
    let served = |outcome: Result<(), Box<dyn std::error::Error + Send + Sync>>| outcome.map_err(io::Error::other);
    tokio::pin!(connection);
    if !doors.is_paired(&certificate) {
        match timeout(STRANGER_LIFE, connection.as_mut()).await {
            Ok(outcome) => return served(outcome),
            // It paired meanwhile: it stays, and from now on as what it is.
            Err(_) if doors.is_paired(&certificate) => {}
            Err(_) => return Ok(()),
        }
    }
    let Ok(_paired_place) = Arc::clone(&doors.paired).try_acquire_owned() else {
        return Err(io::Error::other("too many connections of paired managers"));
    };
    drop((place, seat));
    let mut stopping = doors.app.stopping.clone();
    tokio::select! {
        outcome = connection.as_mut() => return served(outcome),
        _ = stopping.wait_for(|stopping| *stopping) => connection.as_mut().graceful_shutdown(),
    }
    served(connection.await)
}

/// Tells a client of the original protocol that forgot TLS what is missing; true if it was one.
async fn refuse_plain_text(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    let peeked = timeout(HANDSHAKE_WAIT, stream.peek(&mut first)).await;
    let count = peeked.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the client says nothing"))??;
    if count == 0 || first[0] == TLS_HANDSHAKE {
        return Ok(count == 0);
    }
    stream.writable().await?;
    // A few bytes into an empty buffer go in whole.
    stream.try_write(legacy::PLAIN_TEXT_REFUSED)?;
    Ok(true)
}

fn builder(http2: bool) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_WAIT).max_buf_size(HEAD_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_WAIT)
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_MAX).unwrap_or(u32::MAX));
    // What TLS agreed on, and nothing guessed from the first bytes.
    if http2 { builder.http2_only() } else { builder.http1_only() }
}
