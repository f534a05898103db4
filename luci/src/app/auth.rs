//! Accounts, passwords and sessions. Passwords are hashed with argon2id on threads of their own, and guessing is slowed
//! down per account and per address.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use pam::{PasswordChecks, Verdict};

use super::{App, AppError, Who};
use crate::repo::sessions::Origin;
use crate::repo::users::{LoginBy, User};
use crate::repo::{Repo, RepoError};
use crate::tokens;

/// Shortest password of an account of luci.
pub const PASSWORD_MIN: usize = 8;
/// Longest; argon2 would take more, but nobody types it.
const PASSWORD_MAX: usize = 1024;
/// Attempts per account and minute.
const PER_ACCOUNT: NonZeroU32 = NonZeroU32::new(8).expect("8 is not 0");
/// Attempts per address and minute; several people may share one.
const PER_ADDRESS: NonZeroU32 = NonZeroU32::new(30).expect("30 is not 0");

/// Checks by PAM at the same time; more than one person may log in while a directory is slow.
const PAM_CHECKS: usize = 4;
/// pam_unix itself waits about 2 s after a failure, a directory that is down up to some seconds.
const PAM_WAIT: Duration = Duration::from_secs(15);

/// Asks PAM for the passwords of accounts that log in by it.
#[derive(Debug)]
pub struct PamLogin {
    service: String,
    checks: PasswordChecks,
}

/// What giving name and password came to.
#[derive(Debug)]
pub enum Login {
    Open(NewSession),
    /// The account has a second factor: the token belongs to the browser that now asks for the code.
    Code {
        token: String,
    },
}

/// Codes of a second factor per account and hour. Whoever has learnt a password and tries codes all day long (three of a million are right
/// at any time) then needs a year for an even chance, and the log tells of it.
const CODES_PER_HOUR: NonZeroU32 = NonZeroU32::new(25).expect("25 is not 0");
/// So many at once, for somebody who mistypes.
const CODES_AT_ONCE: NonZeroU32 = NonZeroU32::new(10).expect("10 is not 0");

/// Slows guessing down.
pub struct LoginLimits {
    codes: DefaultKeyedRateLimiter<String>,
    accounts: DefaultKeyedRateLimiter<String>,
    addresses: DefaultKeyedRateLimiter<String>,
}

impl LoginLimits {
    pub(crate) fn new() -> Self {
        Self {
            codes: RateLimiter::keyed(Quota::per_hour(CODES_PER_HOUR).allow_burst(CODES_AT_ONCE)),
            accounts: RateLimiter::keyed(Quota::per_minute(PER_ACCOUNT)),
            addresses: RateLimiter::keyed(Quota::per_minute(PER_ADDRESS)),
        }
    }

    fn allows_code(&self, account: &str) -> bool {
        self.codes.check_key(&account.to_lowercase()).is_ok()
    }

    fn allows(&self, account: &str, address: &str) -> bool {
        // Names that were tried once need not be remembered for ever.
        if self.accounts.len() > 10_000 {
            self.accounts.retain_recent();
            self.addresses.retain_recent();
        }
        let address_ok = self.addresses.check_key(&address.to_owned()).is_ok();
        let account_ok = self.accounts.check_key(&account.to_lowercase()).is_ok();
        address_ok && account_ok
    }
}

/// A session that was just opened; the token goes into the browser's cookie and nowhere else.
#[derive(Debug)]
pub struct NewSession {
    pub token: String,
    pub who: Who,
}

/// Hashes a password on a thread where it delays nobody.
pub async fn hash_password(password: String) -> Result<String, AppError> {
    tokio::task::spawn_blocking(move || {
        Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string())
    })
    .await
    .map_err(|error| AppError::Internal(error.to_string()))?
    .map_err(|error| AppError::Internal(error.to_string()))
}

async fn is_password(password: String, hash: String) -> Result<bool, AppError> {
    tokio::task::spawn_blocking(move || {
        PasswordHash::new(&hash)
            .is_ok_and(|parsed| Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok())
    })
    .await
    .map_err(|error| AppError::Internal(error.to_string()))
}

/// What a new password must be.
pub fn check_password(password: &str) -> Result<(), AppError> {
    if password.chars().count() < PASSWORD_MIN {
        return Err(AppError::field("password", format!("use at least {PASSWORD_MIN} characters")));
    }
    if password.len() > PASSWORD_MAX {
        return Err(AppError::field("password", "this password is too long"));
    }
    Ok(())
}

/// What an account may be called.
pub fn check_user_name(name: &str) -> Result<(), AppError> {
    let ok = !name.is_empty()
        && name.len() <= 64
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@'));
    if ok { Ok(()) } else { Err(AppError::field("name", "use letters, digits, and . _ - @ (at most 64)")) }
}

/// Makes the one-time link if nobody can log in yet; `None` if somebody can.
pub async fn setup_token(repo: &Repo) -> Result<Option<String>, RepoError> {
    if repo.has_users().await? {
        return Ok(None);
    }
    let token = tokens::random();
    repo.set_setup_link(&tokens::hash(&token)).await?;
    Ok(Some(token))
}

impl App {
    /// Opens a session, or says why not; never which of name and password was wrong.
    pub async fn login(&self, name: &str, password: String, from: Origin<'_>) -> Result<Login, AppError> {
        let address = from.address;
        if !self.logins.allows(name, address) {
            return Err(AppError::TooMany("too many attempts; wait a minute and try again".into()));
        }
        let user = self.repo.user_by_name(name).await?;
        let right = self.is_right(user.as_ref(), password.clone()).await?;
        let Some(user) = user.filter(|_| right) else {
            tracing::warn!(name, address, "login refused");
            return Err(AppError::field("password", "name or password is wrong"));
        };
        if user.login == LoginBy::Password && is_outdated(&user.password_hash) {
            self.repo.rehash_password(user.id, &hash_password(password).await?).await?;
            tracing::info!(name, "the password was hashed anew, as strongly as new ones");
        }
        if self.repo.factor(user.id).await?.is_some() {
            return Ok(Login::Code { token: self.pending.begin(user.id, from.browser) });
        }
        Ok(Login::Open(self.open_session(user, from).await?))
    }

    /// Completes a login with a code of the second factor, or a recovery code.
    pub async fn login_with_code(&self, token: &str, code: &str, from: Origin<'_>) -> Result<NewSession, AppError> {
        let over = || AppError::Conflict("this login took too long or had too many wrong codes; begin again".into());
        let half = self.pending.take_try(token).filter(|half| half.browser == from.browser).ok_or_else(over)?;
        let user = self.repo.user(half.user).await?.ok_or_else(over)?;
        self.slow_codes_down(&user.name)?;
        if !self.take_code(&user, code, from.address).await? {
            tracing::warn!(user = user.name, address = from.address, "login refused: the code is wrong");
            return Err(AppError::field("code", "this code is wrong, or was used already"));
        }
        self.pending.end(token);
        self.open_session(user, from).await
    }

    /// Lets accounts log in by this service of PAM.
    pub fn log_in_by_pam(&mut self, service: &str) {
        let checks = PasswordChecks::new(PAM_CHECKS, PAM_WAIT);
        self.pam = Some(Arc::new(PamLogin { service: service.to_owned(), checks }));
    }

    /// Whether accounts may log in by PAM.
    pub fn has_pam(&self) -> bool {
        self.pam.is_some()
    }

    /// Whether this is the account's password, whoever knows it. A name that does not exist costs the same time as a wrong password.
    async fn is_right(&self, user: Option<&User>, password: String) -> Result<bool, AppError> {
        if password.len() > PASSWORD_MAX {
            return Ok(false);
        }
        match user {
            Some(user) if user.login == LoginBy::Pam => self.ask_pam(&user.name, password).await,
            Some(user) => is_password(password, user.password_hash.clone()).await,
            None => is_password(password, NOBODY.to_owned()).await,
        }
    }

    async fn ask_pam(&self, name: &str, password: String) -> Result<bool, AppError> {
        let Some(pam) = &self.pam else {
            tracing::warn!(name, "this account logs in by PAM, which LUCI_PAM_SERVICE switches on");
            return Ok(false);
        };
        match pam.checks.check(&pam.service, name, password).await {
            Verdict::Right => Ok(true),
            Verdict::Wrong | Verdict::NoUser => Ok(false),
            Verdict::Unknown(why) => {
                tracing::error!(name, service = pam.service, why, "PAM cannot say whether a password is right");
                Err(AppError::Unreachable(
                    "the system cannot check passwords now; try again, or look into luci's log".into(),
                ))
            }
        }
    }

    /// Counts an attempt to prove who one is.
    pub(super) fn slow_down(&self, who: &Who) -> Result<(), AppError> {
        if self.logins.allows(&who.name, &who.address) {
            return Ok(());
        }
        Err(AppError::TooMany("too many attempts; wait a minute and try again".into()))
    }

    /// Counts an attempt to give a code of a second factor.
    pub(super) fn slow_codes_down(&self, account: &str) -> Result<(), AppError> {
        if self.logins.allows_code(account) {
            return Ok(());
        }
        tracing::warn!(account, "too many codes of the second factor were tried");
        Err(AppError::TooMany("too many codes were tried; wait a few minutes and try again".into()))
    }

    /// Asks for the own password again before something that a stolen session must not do; `field` is where it stands in the form.
    pub(super) async fn check_own_password(&self, who: &Who, password: String, field: &str) -> Result<User, AppError> {
        self.slow_down(who)?;
        let user = self.own_account(who).await?;
        if !self.is_right(Some(&user), password).await? {
            return Err(AppError::field(field, "this is not your present password"));
        }
        Ok(user)
    }

    /// Sets the first administrator's password by the one-time link, and logs in.
    pub async fn set_up(
        &self,
        token: &str,
        name: &str,
        password: String,
        from: Origin<'_>,
    ) -> Result<NewSession, AppError> {
        check_user_name(name)?;
        check_password(&password)?;
        let hash = hash_password(password).await?;
        if !self.repo.use_setup_link(&tokens::hash(token), name, &hash).await? {
            return Err(AppError::Conflict("this link is not valid any more; log in instead".into()));
        }
        let user = self.repo.user_by_name(name).await?;
        let user = user.ok_or_else(|| AppError::Internal("the new account is not there".into()))?;
        let session = self.open_session(user, from).await?;
        self.audit(&session.who, None, "set-up", name, "first administrator", "done").await?;
        Ok(session)
    }

    async fn open_session(&self, user: User, from: Origin<'_>) -> Result<NewSession, AppError> {
        let (token, csrf) = (tokens::random(), tokens::random());
        let session = tokens::hash(&token);
        self.repo.open_session(&session, user.id, &csrf, from).await?;
        tracing::info!(user = user.name, address = from.address, "logged in");
        let who = self.who_by_session(&session, None, from.address).await?;
        let who = who.ok_or_else(|| AppError::Internal("the new session is not there".into()))?;
        Ok(NewSession { token, who })
    }

    /// Ends the session that asks.
    pub async fn logout(&self, who: &Who) -> Result<(), AppError> {
        match who.session() {
            Some(session) => {
                self.repo.close_session(session).await?;
                self.watchers.touch_rights();
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Sets one's own password.
    pub async fn change_password(&self, who: &Who, old: String, new: String) -> Result<(), AppError> {
        check_password(&new)?;
        if self.own_account(who).await?.login == LoginBy::Pam {
            let text = "this account has the system's password; it is changed there";
            return Err(AppError::field("password", text));
        }
        self.check_own_password(who, old, "old").await?;
        let hash = hash_password(new).await?;
        self.repo.set_password(&who.name, &hash).await?;
        self.watchers.touch_rights();
        Ok(self.audit(who, None, "change-password", &who.name, "", "done; all sessions ended").await?)
    }
}

/// Whether a hash was made with other parameters than new ones are: by an older release, or in an older scheme.
fn is_outdated(hash: &str) -> bool {
    // `$argon2id$v=19$m=19456,t=2,p=1$…`: scheme, version, parameters.
    !hash.split('$').take(4).eq(NOBODY.split('$').take(4))
}

/// Well-formed, and of no password at all; its parameters are those of new hashes.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unknown_name_costs_as_much_as_a_wrong_password() {
        assert!(PasswordHash::new(NOBODY).is_ok(), "otherwise it is refused without work");
        assert!(!is_password("any".into(), NOBODY.into()).await.expect("checked"));
        let hash = hash_password("correct horse".into()).await.expect("hashed");
        assert!(hash.starts_with("$argon2id$"));
        assert!(!is_outdated(&hash), "the parameters of NOBODY are not those of new hashes: {hash}");
        assert!(is_outdated(&hash.replace("t=2", "t=1")));
        assert!(is_password("correct horse".into(), hash).await.expect("checked"));
    }
}
