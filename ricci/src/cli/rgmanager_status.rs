//! The whole status, asked of rgmanager by the commands that only show it. One question, one deadline, one sentence
//! when there is no answer.

use std::time::Duration;

use shared::socket::{Ask, Reply};
use shared::status::ClusterStatus;

use super::client::ask_once;

/// The status, or why there is none.
pub(super) fn ask(limit: Duration) -> Result<ClusterStatus, String> {
    match ask_once(&Ask::Status, limit) {
        Ok(Reply::Status { status }) => Ok(*status),
        Ok(Reply::Error { text }) => Err(text),
        Ok(Reply::PermissionDenied) => Err("Permission denied; try again as root".into()),
        Ok(_) => Err("rgmanager answered another question; are both of the same release?".into()),
        Err(error) => Err(shared::chain(&error)),
    }
}
