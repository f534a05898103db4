//! Keeps the end of what a child process prints, without ever holding the child up and without growing.
//!
//! Used by `process` for every run. The writing end of the pipe may outlive the child, because agents leave
//! processes behind that inherited it (IPaddr2's send_arp, a daemon started by an init script): then the pipe is
//! read and thrown away until it closes, since a closed pipe would kill those processes with SIGPIPE.

use std::io::{ErrorKind, PipeReader};
use std::os::fd::OwnedFd;

use tokio::net::unix::pipe;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::pipe::drain;

/// What is kept of one run's output.
pub(super) const OUTPUT_KEPT_BYTES: usize = 64 * 1024;

/// Pipes read on after their run, for processes left behind. Each costs one descriptor; beyond this number a pipe
/// is closed instead.
const LEFT_OPEN_MAX: usize = 256;

static LEFT_OPEN: Semaphore = Semaphore::const_new(LEFT_OPEN_MAX);

/// The last bytes of a stream.
#[derive(Debug, Default)]
struct Tail {
    bytes: Vec<u8>,
    cut: bool,
}

impl Tail {
    fn push(&mut self, more: &[u8]) {
        self.bytes.extend_from_slice(more);
        // Twice the size before it is moved down, so that each byte is moved once at most.
        if self.bytes.len() > 2 * OUTPUT_KEPT_BYTES {
            self.cut_to_size();
        }
    }

    fn cut_to_size(&mut self) {
        if self.bytes.len() > OUTPUT_KEPT_BYTES {
            self.bytes.drain(..self.bytes.len() - OUTPUT_KEPT_BYTES);
            self.cut = true;
        }
    }

    /// As text. After a cut the first line is dropped: half a line is no use, and half a password could not be
    /// recognised and masked.
    fn into_text(mut self) -> String {
        self.cut_to_size();
        let whole = String::from_utf8_lossy(&self.bytes);
        let text = if self.cut { whole.split_once('\n').map_or("", |(_, rest)| rest) } else { &whole };
        text.trim_end().to_owned()
    }
}

/// Reads the output of one child in the background.
#[derive(Debug)]
pub(super) struct Collector {
    ended: Option<oneshot::Sender<()>>,
    text: oneshot::Receiver<String>,
    task: JoinHandle<()>,
}

impl Collector {
    /// Begins to read. The writing end belongs to the child alone by now.
    pub(super) fn start(reader: PipeReader) -> std::io::Result<Self> {
        let receiver = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
        let (ended, on_end) = oneshot::channel();
        let (give, text) = oneshot::channel();
        let task = tokio::spawn(collect(receiver, on_end, give));
        Ok(Self { ended: Some(ended), text, task })
    }

    /// The end of what was printed until now. Called when the child has ended; does not wait for whoever else
    /// holds the pipe.
    pub(super) async fn finish(mut self) -> String {
        if let Some(ended) = self.ended.take() {
            // The task is gone already if the pipe closed by itself; its text is waiting then.
            let _ = ended.send(());
        }
        let text = (&mut self.text).await.unwrap_or_default();
        // The task may go on throwing away what processes left behind print; it ends with the pipe.
        drop(self.task);
        text
    }
}

async fn collect(receiver: pipe::Receiver, mut on_end: oneshot::Receiver<()>, give: oneshot::Sender<String>) {
    let mut tail = Tail::default();
    let mut buffer = vec![0; 16 * 1024];
    let closed = loop {
        tokio::select! {
            biased;
            _ = &mut on_end => break drain(&receiver, &mut buffer, |bytes| tail.push(bytes)),
            ready = receiver.readable() => {
                if ready.is_err() || read_some(&receiver, &mut buffer, &mut tail) == Some(0) {
                    break true;
                }
            }
        }
    };
    // Nobody listens if the run was dropped with the daemon.
    let _ = give.send(tail.into_text());
    if !closed && let Ok(_permit) = LEFT_OPEN.try_acquire() {
        while receiver.readable().await.is_ok() {
            match receiver.try_read(&mut buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
    }
}

/// `None`: nothing there just now. `Some(0)`: closed.
fn read_some(receiver: &pipe::Receiver, buffer: &mut [u8], tail: &mut Tail) -> Option<usize> {
    match receiver.try_read(buffer) {
        Ok(count) => {
            tail.push(&buffer[..count]);
            Some(count)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(_) => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_and_half_a_line_is_dropped() {
        let mut tail = Tail::default();
        for number in 0..100_000 {
            tail.push(format!("line {number}\n").as_bytes());
        }
        assert!(tail.bytes.capacity() <= 4 * OUTPUT_KEPT_BYTES);
        let text = tail.into_text();
        assert!(text.len() <= OUTPUT_KEPT_BYTES);
        assert!(text.ends_with("line 99999"), "{}", &text[text.len() - 20..]);
        assert!(text.starts_with("line "), "{}", &text[..20]);
    }
}
