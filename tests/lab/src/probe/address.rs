//! Who really holds an address: asks the kernel of every host, again and again.
//!
//! The answer is the host's own table of local addresses, not what its daemons believe. A host without power holds
//! nothing; a host cut from the network holds what it has. Overlaps (two holders at one moment) are flagged.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};

use crate::handle::Lab;
use crate::wait::wait_for;

/// Pause between two rounds; a round asks three hosts in well under a millisecond.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// One host held the address without a break.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Who.
    pub host: usize,
    /// First round that saw it.
    pub from: SystemTime,
    /// First round that no longer saw it; `None` while it holds.
    pub until: Option<SystemTime>,
}

/// Two hosts held the address at the same moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Overlap {
    /// When it was seen.
    pub at: SystemTime,
    /// Who.
    pub hosts: Vec<usize>,
}

#[derive(Default)]
struct Record {
    spans: Vec<Span>,
    overlaps: Vec<Overlap>,
    rounds: u64,
    /// Longest pause between two rounds: how much the watch can have missed.
    blind: Duration,
}

/// A running watch of one address; ends when dropped.
#[derive(Debug)]
pub struct AddressWatch {
    record: Arc<Mutex<Record>>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} spans, {} overlaps in {} rounds", self.spans.len(), self.overlaps.len(), self.rounds)
    }
}

impl Lab {
    /// Starts to watch which host holds an address.
    pub fn watch_address(&self, address: IpAddr) -> AddressWatch {
        let record = Arc::new(Mutex::new(Record::default()));
        let (stop, stopped) = mpsc::channel();
        let places: Vec<PathBuf> = (1..=self.hosts())
            .map(|host| self.folder().join("hosts").join(crate::host_name(host)).join("init"))
            .collect();
        let shared = Arc::clone(&record);
        let thread = std::thread::spawn(move || {
            let mut last = SystemTime::now();
            loop {
                round(&places, address, &mut lock(&shared), &mut last);
                if stopped.recv_timeout(ASK_EVERY) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
        });
        AddressWatch { record, stop: Some(stop), thread: Some(thread) }
    }

    /// Hosts that hold an address now.
    pub fn holders(&self, address: IpAddr) -> Vec<usize> {
        (1..=self.hosts()).filter(|host| self.init(*host).is_some_and(|init| holds(init, address))).collect()
    }
}

impl AddressWatch {
    /// All spans so far, in the order in which they began.
    pub fn history(&self) -> Vec<Span> {
        lock(&self.record).spans.clone()
    }

    /// Moments at which more than one host held the address.
    pub fn overlaps(&self) -> Vec<Overlap> {
        lock(&self.record).overlaps.clone()
    }

    /// Who holds the address, by the last round.
    pub fn holders(&self) -> Vec<usize> {
        lock(&self.record).spans.iter().filter(|span| span.until.is_none()).map(|span| span.host).collect()
    }

    /// Longest time between two rounds so far.
    pub fn blind(&self) -> Duration {
        lock(&self.record).blind
    }

    /// Waits until exactly this host holds the address.
    pub fn wait_holder(&self, host: usize, limit: Duration) -> Result<()> {
        let seen =
            wait_for(&format!("node{host} to hold the address"), limit, || (self.holders() == [host]).then_some(()));
        if seen.is_err() {
            bail!("node{host} does not hold the address after {limit:?}; history: {:?}", self.history());
        }
        Ok(())
    }

    /// Ends the watch; an error if two hosts ever held the address at once.
    pub fn finish(mut self) -> Result<Vec<Span>> {
        self.end();
        if let Some(first) = self.overlaps().first() {
            bail!(
                "{} times more than one host held the address, first {first:?}; {:?}",
                self.overlaps().len(),
                self.history()
            );
        }
        Ok(self.history())
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for AddressWatch {
    fn drop(&mut self) {
        self.end();
    }
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

fn round(places: &[PathBuf], address: IpAddr, record: &mut Record, last: &mut SystemTime) {
    let ask = |host: usize| init_of(&places[host - 1]).is_some_and(|init| holds(init, address));
    let mut holders: Vec<usize> = (1..=places.len()).filter(|host| ask(*host)).collect();
    if holders.len() > 1 {
        // The address may have moved while the hosts were asked one after another: those asked first must still hold it.
        holders.retain(|host| ask(*host));
    }
    let now = SystemTime::now();
    record.blind = record.blind.max(now.duration_since(*last).unwrap_or_default());
    *last = now;
    record.rounds += 1;
    for span in record.spans.iter_mut().filter(|span| span.until.is_none() && !holders.contains(&span.host)) {
        span.until = Some(now);
    }
    for host in &holders {
        if !record.spans.iter().any(|span| span.host == *host && span.until.is_none()) {
            record.spans.push(Span { host: *host, from: now, until: None });
        }
    }
    if holders.len() > 1 {
        record.overlaps.push(Overlap { at: now, hosts: holders });
    }
}

fn init_of(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.parse().ok()
}

/// Whether the network of a process has an address, by the kernel's table.
fn holds(init: u32, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            fs::read_to_string(format!("/proc/{init}/net/fib_trie")).is_ok_and(|text| has_v4(&text, &v4.to_string()))
        }
        IpAddr::V6(v6) => {
            let digits: String = v6.octets().iter().map(|byte| format!("{byte:02x}")).collect();
            fs::read_to_string(format!("/proc/{init}/net/if_inet6")).is_ok_and(|text| text.contains(&digits))
        }
    }
}

/// Whether fib_trie lists an address as a local one: a line `|-- ADDRESS`, followed by its kinds.
fn has_v4(trie: &str, address: &str) -> bool {
    let mut below = false;
    trie.lines().any(|line| {
        if let Some((_, leaf)) = line.split_once("|-- ") {
            below = leaf.trim() == address;
        }
        below && line.contains("/32 host LOCAL")
    })
}

#[cfg(test)]
mod tests {
    use super::has_v4;

    const TRIE: &str = "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.77.0.11\n        /32 host LOCAL\n     |-- 10.77.0.255\n        /32 link BROADCAST\n";

    #[test]
    fn an_address_counts_as_held_only_when_it_is_a_local_one() {
        assert!(has_v4(TRIE, "10.77.0.11"));
        assert!(!has_v4(TRIE, "10.77.0.255"));
        assert!(!has_v4(TRIE, "10.77.0.1"));
    }
}
