//! The last words of a child process. Used by both runners of programs, that of rgmanager and that of the agent.

use std::os::fd::AsFd;

use rustix::io::Errno;

/// Bytes still taken from a pipe when the child has ended. A pipe holds 64 KiB, 1 MiB at most; more would mean that
/// somebody goes on writing, and nobody must wait for that.
const DRAIN_AFTER_END_BYTES: usize = 1024 * 1024;

/// Takes what lies in a pipe that does not block; whether the pipe is closed.
///
/// Asks the kernel and not the runtime, which knows of new bytes only after it has looked again: a child that prints
/// its last words and ends at once would seem to have said nothing.
pub(crate) fn drain(pipe: impl AsFd, buffer: &mut [u8], mut take: impl FnMut(&[u8])) -> bool {
    let mut taken = 0;
    while taken < DRAIN_AFTER_END_BYTES {
        match rustix::io::read(pipe.as_fd(), &mut *buffer) {
            Ok(0) => return true,
            Ok(count) => {
                take(&buffer[..count]);
                taken += count;
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return false,
            Err(_) => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::OwnedFd;

    use tokio::net::unix::pipe;

    use super::*;

    #[tokio::test]
    async fn words_that_the_runtime_has_not_heard_of_yet_are_taken() {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let receiver = pipe::Receiver::from_owned_fd(OwnedFd::from(reader)).expect("a pipe of the runtime");
        writer.write_all(b"last words").expect("room in the pipe");
        let mut heard = Vec::new();
        assert!(!drain(&receiver, &mut [0; 4], |bytes| heard.extend_from_slice(bytes)), "the writer still holds it");
        assert_eq!(heard, b"last words");
        drop(writer);
        assert!(drain(&receiver, &mut [0; 4], |_| {}), "nobody holds it");
    }
}
