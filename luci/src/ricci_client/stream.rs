//! The status stream of a member: lines of JSON, one item each, until the link breaks or falls silent.

use std::time::Duration;

use shared::ids::NodeName;
use shared::status::StreamItem;

use super::{RicciError, silent};

/// A member says something at least every five seconds; after two that are missing it is taken for hung.
const SILENCE: Duration = Duration::from_secs(11);
/// Longest item that is read.
const LINE_MAX_BYTES: usize = 16 * 1024 * 1024;

/// An open stream.
#[derive(Debug)]
pub struct StatusStream {
    node: NodeName,
    answer: reqwest::Response,
    buffer: Vec<u8>,
    /// How much of the buffer is known to hold no line end.
    searched: usize,
}

impl StatusStream {
    pub(super) fn new(node: NodeName, answer: reqwest::Response) -> Self {
        Self { node, answer, buffer: Vec::new(), searched: 0 }
    }

    /// The next item. An error ends the stream.
    pub async fn next(&mut self) -> Result<StreamItem, RicciError> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=self.searched + at).collect();
                self.searched = 0;
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return serde_json::from_slice(&line).map_err(|error| {
                    tracing::warn!(node = %self.node, %error, "an item of the status stream cannot be read");
                    RicciError::Strange { node: self.node.clone(), status: 200 }
                });
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > LINE_MAX_BYTES {
                return Err(RicciError::Strange { node: self.node.clone(), status: 200 });
            }
            let chunk = tokio::time::timeout(SILENCE, self.answer.chunk())
                .await
                .map_err(|_| RicciError::Silent {
                    node: self.node.clone(),
                    why: "the status stream fell silent".into(),
                })?
                .map_err(|error| silent(&self.node, &error))?;
            match chunk {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => {
                    return Err(RicciError::Silent { node: self.node.clone(), why: "the status stream ended".into() });
                }
            }
        }
    }
}
