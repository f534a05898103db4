//! Asks PAM whether a password is right: ricci for the system user `ricci`, luci for accounts that log in by the system. PAM blocks
//! and may hang (LDAP, a delay after failures), so each check has a thread, a deadline and one of few places; a check that hangs
//! keeps its place until PAM returns, and only logging in suffers.
// SPDX-License-Identifier: MIT OR Apache-2.0

use std::sync::Arc;
use std::time::Duration;

use pam_client2::conv_mock::Conversation;
use pam_client2::{Context, ErrorCode, Flag};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// What PAM came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The password is right and the account may log in.
    Right,
    Wrong,
    /// PAM knows no such user.
    NoUser,
    /// The check could not be made; why.
    Unknown(String),
}

/// Bounds the checks.
#[derive(Debug)]
pub struct PasswordChecks {
    places: Arc<Semaphore>,
    deadline: Duration,
}

impl PasswordChecks {
    /// At most `places` checks at the same time; each is given up after `deadline`. pam_unix itself waits about 2 s after a failure.
    pub fn new(places: usize, deadline: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), deadline }
    }

    /// Is this the password of this user, by the rules of this PAM service?
    pub async fn check(&self, service: &str, user: &str, password: String) -> Verdict {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Verdict::Unknown("earlier checks of a password have not ended yet".into());
        };
        let (service, user) = (service.to_owned(), user.to_owned());
        let check = tokio::task::spawn_blocking(move || {
            let verdict = ask_pam(&service, &user, password);
            drop(place);
            verdict
        });
        match timeout(self.deadline, check).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(_)) => Verdict::Unknown("the check of the password ended abnormally".into()),
            Err(_) => Verdict::Unknown(format!("PAM did not answer within {} seconds", self.deadline.as_secs())),
        }
    }
}

fn ask_pam(service: &str, user: &str, password: String) -> Verdict {
    // An empty password opens accounts without one in some stacks.
    if password.is_empty() || password.contains('\0') {
        return Verdict::Wrong;
    }
    let conversation = Conversation::with_credentials(user, password);
    let checked = Context::new(service, Some(user), conversation).and_then(|mut context| {
        context.authenticate(Flag::SILENT | Flag::DISALLOW_NULL_AUTHTOK)?;
        context.acct_mgmt(Flag::SILENT | Flag::DISALLOW_NULL_AUTHTOK)
    });
    match checked {
        Ok(()) => Verdict::Right,
        Err(error) => match error.code() {
            ErrorCode::AUTH_ERR | ErrorCode::MAXTRIES | ErrorCode::PERM_DENIED | ErrorCode::ACCT_EXPIRED => {
                Verdict::Wrong
            }
            ErrorCode::USER_UNKNOWN => Verdict::NoUser,
            _ => Verdict::Unknown(format!("PAM says: {error}")),
        },
    }
}
