//! The words of the field, once: state names and numbers, request names, result texts and codes
//! (rhcs.md §1.2, §2.1, §2.2). Scripts know these strings.

use serde::{Deserialize, Serialize};

/// State of a service as `clustat` shows it (rhcs.md §1.2, §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceState {
    Stopped,
    Starting,
    Started,
    Stopping,
    Failed,
    Uninitialized,
    Checking,
    Recoverable,
    Recovering,
    Disabled,
    Migrating,
}

impl ServiceState {
    /// The name in `clustat`'s State column and `state_str`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Started => "started",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
            Self::Uninitialized => "uninitialized",
            Self::Checking => "checking",
            Self::Recoverable => "recoverable",
            Self::Recovering => "recovering",
            Self::Disabled => "disabled",
            Self::Migrating => "migrating",
        }
    }

    /// The number in `clustat -l`, `clustat -x` and the exit code of `clustat -s`.
    pub fn number(self) -> u8 {
        match self {
            Self::Stopped => 110,
            Self::Starting => 111,
            Self::Started => 112,
            Self::Stopping => 113,
            Self::Failed => 114,
            Self::Uninitialized => 115,
            Self::Checking => 116,
            Self::Recoverable => 117,
            Self::Recovering => 118,
            Self::Disabled => 119,
            Self::Migrating => 120,
        }
    }

    /// Whether the owner column shows the last owner in parentheses (rhcs.md §1.2).
    pub fn shows_last_owner(self) -> bool {
        matches!(self, Self::Stopped | Self::Disabled | Self::Recoverable | Self::Failed)
    }
}

/// What a request came to (rhcs.md §2.2). The one list of result texts and codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResultCode {
    Success,
    Failure,
    Aborted,
    NotMaster,
    NoService,
    Deadlock,
    TryAgain,
    Dependency,
    InvalidOperation,
    NeedsQuorum,
    AlreadyRunning,
    Frozen,
    NodeDead,
    FencingPending,
    ScriptError,
    NotRunnable,
    Exclusive,
    OriginalOwner,
    PermissionDenied,
    Warning,
}

impl ResultCode {
    /// The number the original returned; negative.
    pub fn number(self) -> i32 {
        match self {
            Self::Success => 0,
            Self::Failure => -1,
            Self::Aborted => -2,
            Self::NotMaster => -3,
            Self::NoService => -4,
            Self::Deadlock => -5,
            Self::TryAgain => -6,
            Self::Dependency => -7,
            Self::InvalidOperation => -8,
            Self::NeedsQuorum => -9,
            Self::AlreadyRunning => -10,
            Self::Frozen => -11,
            Self::NodeDead => -12,
            Self::FencingPending => -13,
            Self::ScriptError => -14,
            Self::NotRunnable => -15,
            Self::Exclusive => -16,
            Self::OriginalOwner => -17,
            Self::PermissionDenied => -18,
            Self::Warning => -19,
        }
    }

    /// Exit status of `clusvcadm`: the code modulo 256, but 0 for "already running".
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Success | Self::AlreadyRunning => 0,
            other => u8::try_from(other.number().rem_euclid(256)).unwrap_or(255),
        }
    }

    /// The text that `clusvcadm` prints after the dots.
    pub fn text(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::Failure => "Failure",
            Self::Aborted => "Aborted; service failed",
            Self::NotMaster => "Service not mastered locally",
            Self::NoService => "Service does not exist",
            Self::Deadlock => "Operation would cause a deadlock",
            Self::TryAgain => "Temporary failure; try again",
            Self::Dependency => "Operation violates dependency rule",
            Self::InvalidOperation => "Invalid operation for resource",
            Self::NeedsQuorum => "Operation requires quorum",
            Self::AlreadyRunning => "Service is already running",
            Self::Frozen => "Failure: Service is frozen",
            Self::NodeDead => "Target node dead / nonexistent",
            Self::FencingPending => "Fencing operation pending; try again later",
            Self::ScriptError => "S/Lang Script Error",
            Self::NotRunnable => "Service not runnable",
            Self::Exclusive => "Service not runnable: cannot run exclusive",
            Self::OriginalOwner => "Failed; service running on original owner",
            Self::PermissionDenied => "Permission denied",
            Self::Warning => "Warning; see system logs",
        }
    }
}

/// Meaning of an OCF exit code, for the line that admins search first (rhcs.md §3.7).
pub fn ocf_meaning(code: i32) -> &'static str {
    match code {
        0 => "success",
        1 => "generic error",
        2 => "invalid argument(s)",
        3 => "function not implemented",
        4 => "insufficient privileges",
        5 => "program not installed",
        6 => "program not configured",
        7 => "not running",
        8 => "running (promoted)",
        9 => "failed (promoted)",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_success_and_already_running_exit_with_zero() {
        assert_eq!(ResultCode::Success.exit_status(), 0);
        assert_eq!(ResultCode::AlreadyRunning.exit_status(), 0);
        assert_eq!(ResultCode::Failure.exit_status(), 255);
        assert_eq!(ResultCode::Frozen.exit_status(), 245);
        assert_eq!(ResultCode::Warning.exit_status(), 237);
    }
}
