//! What an HTTP client on the service network gets: one independent GET per interval, each recorded.
//!
//! All requests run on one thread inside the client's network, without blocking, so that a request that hangs does not
//! delay the next. A request counts as answered when it got a whole answer with status 200.

use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};

use crate::handle::Lab;
use crate::netns;
use crate::plan::Place;

/// Time from one request to the next.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// A request without an answer is given up after this time.
const GIVE_UP: Duration = Duration::from_secs(1);

/// What became of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Status 200; the first line of the body.
    Page(String),
    /// Another status.
    Status(u16),
    /// No answer, and why.
    Nothing(String),
}

/// One request with its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// When it was sent.
    pub sent: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// What came of it.
    pub outcome: Outcome,
}

impl Answer {
    /// A page came.
    pub fn ok(&self) -> bool {
        matches!(self.outcome, Outcome::Page(_))
    }

    /// First line of the page, if one came.
    pub fn page(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Page(line) => Some(line),
            _ => None,
        }
    }
}

/// A running poller; ends when dropped.
#[derive(Debug)]
pub struct HttpPoller {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    answers: Mutex<Vec<Answer>>,
    /// When the oldest request that is still under way was sent.
    oldest: Mutex<Option<SystemTime>>,
    grown: Condvar,
    ended: Condvar,
    ending: AtomicBool,
}

impl Lab {
    /// Starts to ask for `path` at an address, every 10 ms, from the client.
    pub fn poll_http(&self, target: SocketAddrV4, path: &str) -> Result<HttpPoller> {
        let namespace = self.namespace(Place::Client)?;
        let shared = Arc::new(Shared::default());
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", target.ip());
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || match netns::enter(namespace) {
            Ok(()) => poll(&theirs, target, request.as_bytes()),
            Err(e) => theirs.record(SystemTime::now(), Outcome::Nothing(format!("{e:#}"))),
        });
        Ok(HttpPoller { shared, thread: Some(thread) })
    }
}

impl HttpPoller {
    /// All requests that have ended, in the order in which they ended.
    pub fn answers(&self) -> Vec<Answer> {
        self.shared.answers().clone()
    }

    /// Waits for a page whose request was sent after `since` and for which `wanted` holds.
    pub fn wait_page(&self, since: SystemTime, limit: Duration, wanted: impl Fn(&str) -> bool) -> Result<Answer> {
        let start = Instant::now();
        let fits = |answer: &&Answer| answer.sent > since && answer.page().is_some_and(&wanted);
        let mut answers = self.shared.answers();
        loop {
            if let Some(found) = answers.iter().find(fits) {
                return Ok(found.clone());
            }
            let Some(left) = limit.checked_sub(start.elapsed()) else {
                bail!("no such page within {limit:?}; the last answer was {:?}", answers.last());
            };
            answers = self.shared.grown.wait_timeout(answers, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The longest outage since a moment: from the sending of the last good request before a failure to the end of the first
    /// good one after it; zero if nothing failed. An outage that lasts still counts until the last answer.
    /// Waits for the requests that are under way, at most a second.
    pub fn outage(&self, since: SystemTime) -> Duration {
        self.shared.wait_ended(SystemTime::now());
        outage(self.answers().into_iter().filter(|answer| answer.sent >= since).collect())
    }

    /// Sends no more, waits for what is under way (at most a second) and gives all answers.
    pub fn finish(mut self) -> Vec<Answer> {
        self.end();
        self.answers()
    }

    fn end(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for HttpPoller {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn answers(&self) -> MutexGuard<'_, Vec<Answer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until every request sent up to a moment has ended.
    fn wait_ended(&self, moment: SystemTime) {
        let oldest = self.oldest.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = GIVE_UP + ASK_EVERY * 2;
        drop(self.ended.wait_timeout_while(oldest, limit, |oldest| oldest.is_some_and(|oldest| oldest <= moment)));
    }

    fn record(&self, sent: SystemTime, outcome: Outcome) {
        self.answers().push(Answer { sent, ended: SystemTime::now(), outcome });
        self.grown.notify_all();
    }
}

fn outage(mut answers: Vec<Answer>) -> Duration {
    answers.sort_by_key(|answer| answer.sent);
    let (mut worst, mut last_good, mut failing) = (Duration::ZERO, None, false);
    for answer in &answers {
        let begin = *last_good.get_or_insert(answer.sent);
        if failing || !answer.ok() {
            worst = worst.max(answer.ended.duration_since(begin).unwrap_or_default());
        }
        failing = !answer.ok();
        if answer.ok() {
            last_good = Some(answer.sent);
        }
    }
    worst
}

/// One request under way.
struct Request {
    socket: OwnedFd,
    sent: SystemTime,
    begun: Instant,
    connected: bool,
    received: Vec<u8>,
}

fn poll(shared: &Shared, target: SocketAddrV4, request: &[u8]) {
    let mut under_way: BTreeMap<u64, Request> = BTreeMap::new();
    let mut next = Instant::now();
    let mut number = 0;
    loop {
        let ending = shared.ending.load(Ordering::SeqCst);
        if ending && under_way.is_empty() {
            break;
        }
        let now = Instant::now();
        if now >= next && !ending {
            next = (next + ASK_EVERY).max(now);
            number += 1;
            let sent = SystemTime::now();
            match begin(target) {
                Ok(socket) => {
                    under_way
                        .insert(number, Request { socket, sent, begun: now, connected: false, received: Vec::new() });
                }
                Err(e) => shared.record(sent, Outcome::Nothing(e.to_string())),
            }
        }
        let overdue: Vec<u64> =
            under_way.iter().filter(|(_, r)| r.begun.elapsed() > GIVE_UP).map(|(n, _)| *n).collect();
        for late in overdue.into_iter().filter_map(|number| under_way.remove(&number)) {
            shared.record(late.sent, Outcome::Nothing(format!("no answer within {GIVE_UP:?}")));
        }
        let pause = next.saturating_duration_since(Instant::now()).max(if ending { ASK_EVERY } else { Duration::ZERO });
        for number in ready(&under_way, pause) {
            let Some(current) = under_way.get_mut(&number) else { continue };
            if let Some(outcome) = step(current, request) {
                shared.record(current.sent, outcome);
                under_way.remove(&number);
            }
        }
        // Requests are numbered in the order in which they were sent.
        *shared.oldest.lock().unwrap_or_else(PoisonError::into_inner) = under_way.values().next().map(|r| r.sent);
        shared.ended.notify_all();
    }
}

fn begin(target: SocketAddrV4) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &SocketAddr::V4(target)) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(e) => Err(e),
    }
}

/// Waits for at most `limit`; gives the requests that can go on.
fn ready(under_way: &BTreeMap<u64, Request>, limit: Duration) -> Vec<u64> {
    let mut watched: Vec<_> = under_way
        .values()
        .map(|r| PollFd::new(&r.socket, if r.connected { PollFlags::IN } else { PollFlags::OUT }))
        .collect();
    let limit = Timespec::try_from(limit).unwrap_or_default();
    if rustix::event::poll(&mut watched, Some(&limit)).is_err() {
        return Vec::new();
    }
    under_way.keys().zip(&watched).filter(|(_, fd)| !fd.revents().is_empty()).map(|(number, _)| *number).collect()
}

/// Takes a request one step further; gives its outcome when it has ended.
fn step(current: &mut Request, request: &[u8]) -> Option<Outcome> {
    let failed = |e: Errno| Some(Outcome::Nothing(e.to_string()));
    if !current.connected {
        match rustix::net::sockopt::socket_error(&current.socket) {
            Ok(Ok(())) => {}
            Ok(Err(e)) | Err(e) => return failed(e),
        }
        current.connected = true;
        return rustix::net::send(&current.socket, request, SendFlags::NOSIGNAL).err().and_then(failed);
    }
    let mut buffer = [0; 4096];
    match rustix::io::read(&current.socket, &mut buffer) {
        Ok(0) => Some(read_answer(&current.received)),
        Ok(count) => {
            current.received.extend_from_slice(&buffer[..count]);
            None
        }
        Err(Errno::AGAIN | Errno::INTR) => None,
        Err(e) => failed(e),
    }
}

fn read_answer(bytes: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(bytes);
    let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|code| code.parse().ok());
    match (status, text.split_once("\r\n\r\n")) {
        (Some(200), Some((_, body))) => Outcome::Page(body.lines().next().unwrap_or_default().trim().to_owned()),
        (Some(status), _) => Outcome::Status(status),
        (None, _) => Outcome::Nothing("the answer is not HTTP".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{Answer, Outcome, outage, read_answer};

    #[test]
    fn a_page_is_known_by_its_status_and_first_line() {
        assert_eq!(read_answer(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nnode1\nmore"), Outcome::Page("node1".into()));
        assert_eq!(read_answer(b"HTTP/1.1 503 No\r\n\r\n"), Outcome::Status(503));
        assert!(matches!(read_answer(b""), Outcome::Nothing(_)));
    }

    #[test]
    fn an_outage_lasts_from_the_last_good_request_to_the_end_of_the_next_good_one() {
        let at = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        let answer = |sent, ended, ok: bool| Answer {
            sent: at(sent),
            ended: at(ended),
            outcome: if ok { Outcome::Page(String::new()) } else { Outcome::Nothing(String::new()) },
        };
        let good = vec![answer(0, 1, true), answer(10, 11, true)];
        assert_eq!(outage(good), Duration::ZERO);
        let broken = vec![answer(0, 1, true), answer(10, 500, false), answer(20, 21, false), answer(30, 35, true)];
        assert_eq!(outage(broken), Duration::from_millis(500));
        let broken = vec![answer(0, 1, true), answer(10, 12, false), answer(20, 25, true), answer(30, 31, true)];
        assert_eq!(outage(broken), Duration::from_millis(25));
    }
}
