//! Reboots the node where no systemd does it.

use std::path::Path;
use std::time::Duration;

use rustix::system::RebootCommand;

use super::host::HostError;
use super::process::Run;

/// By `program`, if one is named, else by the kernel after writing everything to disk.
pub(super) async fn reboot(program: Option<&Path>) -> Result<(), HostError> {
    let Some(program) = program else {
        super::files::off_loop(rustix::fs::sync).await;
        return rustix::system::reboot(RebootCommand::Restart).map_err(|error| HostError::Reboot(error.into()));
    };
    let run = Run { program, arguments: &[], environment: &[], stdin: b"", wait: Duration::from_secs(30) };
    let ended = run.end().await?;
    if ended.code == Some(0) {
        return Ok(());
    }
    Err(HostError::Failed {
        command: program.display().to_string(),
        code: format!("{:?}", ended.code),
        said: ended.stderr.trim().to_owned(),
    })
}
