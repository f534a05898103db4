//! The password of the system user `ricci`, as `passwd ricci` set it, checked by PAM. PAM blocks and may hang (LDAP, a
//! delay after failures), so each check has a thread, a deadline and one of two places; a check that hangs keeps its
//! place until PAM returns, and only pairing by password suffers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pam_client2::conv_mock::Conversation;
use pam_client2::{Context, ErrorCode, Flag};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// The account whose password pairs.
const USER: &str = "ricci";
/// Checks at the same time; attempts are rare and slowed down anyway.
const CHECKS_MAX: usize = 2;
/// pam_unix itself waits about 2 s after a failure.
const WAIT: Duration = Duration::from_secs(15);

/// What PAM came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Right,
    Wrong,
    /// The check could not be made; why.
    Unknown(String),
}

/// Bounds the checks.
#[derive(Debug)]
pub(super) struct PasswordChecks {
    places: Arc<Semaphore>,
}

impl Default for PasswordChecks {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(CHECKS_MAX)) }
    }
}

impl PasswordChecks {
    /// Is this the password?
    pub(super) async fn check(&self, password: String) -> Verdict {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Verdict::Unknown("earlier checks of a password have not ended yet".into());
        };
        let check = tokio::task::spawn_blocking(move || {
            let verdict = ask_pam(service(), password);
            drop(place);
            verdict
        });
        match timeout(WAIT, check).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(_)) => Verdict::Unknown("the check of the password ended abnormally".into()),
            Err(_) => Verdict::Unknown(format!("PAM did not answer within {} seconds", WAIT.as_secs())),
        }
    }
}

/// Our own PAM service if it is installed; else the system's stack for passwords where there is one; else PAM's `other`,
/// which it takes for an unknown service by itself.
fn service() -> &'static str {
    let installed = |name: &str| ["/etc/pam.d", "/usr/lib/pam.d"].iter().any(|dir| Path::new(dir).join(name).exists());
    if !installed("ricci") && installed("password-auth") { "password-auth" } else { "ricci" }
}

fn ask_pam(service: &str, password: String) -> Verdict {
    // An empty password opens accounts without one in some stacks.
    if password.is_empty() || password.contains('\0') {
        return Verdict::Wrong;
    }
    let conversation = Conversation::with_credentials(USER, password);
    let checked = Context::new(service, Some(USER), conversation).and_then(|mut context| {
        context.authenticate(Flag::SILENT | Flag::DISALLOW_NULL_AUTHTOK)?;
        context.acct_mgmt(Flag::SILENT | Flag::DISALLOW_NULL_AUTHTOK)
    });
    match checked {
        Ok(()) => Verdict::Right,
        Err(error) => match error.code() {
            ErrorCode::AUTH_ERR | ErrorCode::MAXTRIES | ErrorCode::PERM_DENIED => Verdict::Wrong,
            ErrorCode::USER_UNKNOWN => Verdict::Unknown(format!("there is no user {USER} on this node")),
            _ => Verdict::Unknown(format!("PAM says: {error}")),
        },
    }
}
