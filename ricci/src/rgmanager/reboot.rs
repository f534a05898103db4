//! The reset of this node by itself, where the others count on something not running here that could not be stopped: after a loss of
//! quorum, or because of `self_fence` or `hardrecovery`.
//!
//! Called by the driver alone. At once: nothing is stopped, written or waited for, since a disk that does not let go may be the very
//! reason.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use engine::RebootReason;
use rustix::system::RebootCommand;
use shared::ids::ServiceName;

/// Resets this node through `trigger` (sysrq), or where that cannot be written by reboot(2), which inside of a pid namespace ends
/// that. Comes back only if neither was allowed; then the watchdog, fed no more, is what is left.
pub(super) fn reset(trigger: &Path, services: &[ServiceName], reason: &RebootReason) {
    let names = services.iter().map(|name| name.0.as_str()).collect::<Vec<_>>().join(", ");
    match reason {
        RebootReason::QuorumLost => tracing::error!("no quorum, and {names} cannot be stopped: this node is reset"),
        RebootReason::StopFailed { resource } => {
            tracing::error!(
                "{resource} of {names} did not stop and has self_fence or hardrecovery: this node is reset"
            );
        }
    }
    let Err(trigger_error) = OpenOptions::new().write(true).open(trigger).and_then(|mut file| file.write_all(b"b"))
    else {
        return;
    };
    if let Err(error) = rustix::system::reboot(RebootCommand::Restart) {
        let trigger = trigger.display();
        tracing::error!(
            "neither {trigger} ({trigger_error}) nor reboot ({error}) can be used: reset this node by hand"
        );
    }
}
