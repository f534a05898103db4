//! A way from the machine's own loopback into a lab: a TCP forwarder.
//!
//! The demo uses it so that the user's browser reaches luci, the browser tests so that they reach a driver inside.
//! Connections are accepted on 127.0.0.1 and made anew from a thread inside the place's network.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::handle::Lab;
use crate::netns;
use crate::plan::Place;

/// Both ends are on this machine; who does not answer in this time is not there.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// A forwarder; ends when dropped (connections that are open live on).
#[derive(Debug)]
pub struct Forward {
    local: SocketAddr,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Forward {
    /// Where it listens.
    pub fn local(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        // Wakes the listener, which then sees that it shall end.
        let _ = TcpStream::connect(self.local);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Lab {
    /// Makes `target`, as seen from `place`, reachable at 127.0.0.1:`port` of the machine; port 0 picks a free one.
    pub fn forward(&self, port: u16, place: Place, target: SocketAddr) -> Result<Forward> {
        let namespace = Arc::new(self.namespace(place)?);
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| format!("cannot listen on port {port}"))?;
        let local = listener.local_addr()?;
        let ending = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ending);
        let thread = std::thread::spawn(move || {
            for inbound in listener.incoming().map_while(Result::ok) {
                if seen.load(Ordering::SeqCst) {
                    break;
                }
                let namespace = Arc::clone(&namespace);
                std::thread::spawn(move || {
                    // Who asked sees the connection end; the reason is that nobody listens inside.
                    let _ = carry(inbound, &namespace, target);
                });
            }
        });
        Ok(Forward { local, ending, thread: Some(thread) })
    }
}

fn carry(inbound: TcpStream, namespace: &std::fs::File, target: SocketAddr) -> Result<()> {
    netns::enter(namespace)?;
    let outbound = TcpStream::connect_timeout(&target, CONNECT_LIMIT)?;
    let (from, to) = (inbound.try_clone()?, outbound.try_clone()?);
    let back = std::thread::spawn(move || copy(to, from));
    copy(inbound, outbound);
    let _ = back.join();
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
