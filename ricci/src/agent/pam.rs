//! The password of the system user `ricci`, as `passwd ricci` set it. How PAM is asked without being waited for: crate `pam`.

use std::path::Path;
use std::time::Duration;

pub(super) use ::pam::{PasswordChecks, Verdict};

/// The account whose password pairs.
const USER: &str = "ricci";
/// Checks at the same time; attempts are rare and slowed down anyway.
const CHECKS_MAX: usize = 2;
/// pam_unix itself waits about 2 s after a failure.
const WAIT: Duration = Duration::from_secs(15);

/// The checks of a ricci.
pub(super) fn checks() -> PasswordChecks {
    PasswordChecks::new(CHECKS_MAX, WAIT)
}

/// Is this the password?
pub(super) async fn check(checks: &PasswordChecks, password: String) -> Verdict {
    checks.check(service(), USER, password).await
}

/// Our own PAM service if it is installed; else the system's stack for passwords where there is one; else PAM's `other`,
/// which it takes for an unknown service by itself.
fn service() -> &'static str {
    let installed = |name: &str| ["/etc/pam.d", "/usr/lib/pam.d"].iter().any(|dir| Path::new(dir).join(name).exists());
    if !installed("ricci") && installed("password-auth") { "password-auth" } else { "ricci" }
}
