//! The second factor of an account: codes that an authenticator makes from a shared secret and the time (TOTP, RFC 6238: 6 digits, 30 s,
//! SHA-1, which is what every authenticator does), and recovery codes for the day it is lost. Called by `auth` and `http`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use totp_rs::{Builder, Secret, Totp};

use super::access::Access;
use super::accounts::Listed;
use super::{App, AppError, Who};
use crate::clock;
use crate::ids::UserId;
use crate::repo::RepoError;
use crate::repo::users::{Role, User};
use crate::tokens;

/// Recovery codes that are made at once.
const RECOVERY_CODES: usize = 10;
/// Whoever has given the password has this long for the code, and whoever has seen the secret for the first one.
const PENDING_MS: i64 = 10 * 60 * 1000;
/// Wrong codes after which the password must be given again.
const TRIES: u32 = 5;
/// Most logins and enrolments under way at once; beyond it the oldest is forgotten.
const PENDING_MAX: usize = 1000;
/// Length of the shared secret: that of SHA-1, as RFC 4226 recommends.
const SECRET_BYTES: usize = 20;

/// A login whose password was right, and whose code is missing.
#[derive(Debug, Clone)]
pub(super) struct HalfLogin {
    pub(super) user: UserId,
    /// What the browser called itself; another one does not go on with this login.
    pub(super) browser: String,
    tries: u32,
    at: i64,
}

/// Logins and enrolments under way; a restart of luci forgets them, and they begin anew.
#[derive(Clone, Default)]
pub(crate) struct Pending {
    logins: Arc<Mutex<HashMap<String, HalfLogin>>>,
    /// By session: another one of the same account, which did not give the password, does not get to see the secret.
    secrets: Arc<Mutex<HashMap<String, (String, i64)>>>,
}

impl Pending {
    /// Remembers that the password was right; the token goes to the browser.
    pub(super) fn begin(&self, user: UserId, browser: &str) -> String {
        let token = tokens::random();
        let now = clock::now_ms();
        let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        logins.retain(|_, login| now - login.at < PENDING_MS);
        if logins.len() >= PENDING_MAX
            && let Some(oldest) = logins.iter().min_by_key(|(_, login)| login.at).map(|(token, _)| token.clone())
        {
            logins.remove(&oldest);
        }
        logins.insert(tokens::hash(&token), HalfLogin { user, browser: browser.to_owned(), tries: 0, at: now });
        token
    }

    /// One try of a login under way; the last one ends it.
    pub(super) fn take_try(&self, token: &str) -> Option<HalfLogin> {
        let now = clock::now_ms();
        let hash = tokens::hash(token);
        let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        let login = logins.get_mut(&hash).filter(|login| now - login.at < PENDING_MS)?;
        login.tries += 1;
        let login = login.clone();
        if login.tries >= TRIES {
            logins.remove(&hash);
        }
        Some(login)
    }

    pub(super) fn end(&self, token: &str) {
        self.logins.lock().unwrap_or_else(PoisonError::into_inner).remove(&tokens::hash(token));
    }

    fn put_secret(&self, session: &str, secret: &str) {
        let now = clock::now_ms();
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.retain(|_, (_, at)| now - *at < PENDING_MS);
        secrets.insert(session.to_owned(), (secret.to_owned(), now));
    }

    fn secret(&self, session: &str) -> Option<String> {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.get(session).filter(|(_, at)| clock::now_ms() - at < PENDING_MS).map(|(secret, _)| secret.clone())
    }

    fn forget_secret(&self, session: &str) {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner).remove(session);
    }
}

/// What an authenticator has to know.
#[derive(Debug)]
pub struct Enrolment {
    /// In base32, for typing.
    pub secret: String,
    /// The same as an address, for the QR code.
    pub address: String,
}

impl Enrolment {
    fn new(name: &str, secret: String) -> Self {
        // An account's name has only letters, digits and . _ - @, of which @ alone is not plain here.
        let account = name.replace('@', "%40");
        let address = format!("otpauth://totp/luci:{account}?secret={secret}&issuer=luci");
        Self { secret, address }
    }
}

fn totp(secret: &str) -> Result<Totp, AppError> {
    let secret = Secret::try_from_base32(secret).map_err(|error| AppError::Internal(format!("{error:?}")))?;
    Builder::new().with_secret(secret).build().map_err(|error| AppError::Internal(error.to_string()))
}

/// The time step whose code this is, now or one step before or after: clocks differ, and people type slowly.
fn step_of(secret: &str, code: &str) -> Result<Option<i64>, AppError> {
    let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    if code.len() != 6 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let now_s = u64::try_from(clock::now_ms() / 1000).unwrap_or(0);
    Ok(totp(secret)?.check(&code, now_s).and_then(|step| i64::try_from(step).ok()))
}

/// `7K3QF-9XDMA`: 50 random bits without letters that look like digits.
fn recovery_code() -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHJKMNPQRSTUVWXYZ123456789";
    let random = uuid::Uuid::new_v4();
    let letters: Vec<char> = random.as_bytes()[..6]
        .iter()
        .chain(&random.as_bytes()[10..14])
        .map(|byte| char::from(LETTERS[usize::from(byte % 32)]))
        .collect();
    let text = |letters: &[char]| letters.iter().collect::<String>();
    format!("{}-{}", text(&letters[..5]), text(&letters[5..]))
}

/// As it is stored: however it was typed.
fn recovery_hash(code: &str) -> String {
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    tokens::hash(&format!("recovery {}", plain.to_ascii_uppercase()))
}

impl App {
    /// Whether this is a code of the account that was not used before; uses it up.
    pub(super) async fn take_code(&self, user: &User, code: &str, address: &str) -> Result<bool, AppError> {
        let Some(factor) = self.repo.factor(user.id).await? else { return Ok(false) };
        if let Some(step) = step_of(&factor.totp_secret, code)? {
            let fresh = self.repo.use_step(user.id, step).await?;
            if !fresh {
                tracing::warn!(user = user.name, address, "a code that was used already was refused");
            }
            return Ok(fresh);
        }
        let Some(left) = self.repo.use_recovery_code(user.id, &recovery_hash(code)).await? else { return Ok(false) };
        self.audit_of(&user.name, address, "use-recovery-code", &user.name, &format!("{} left", left)).await?;
        Ok(true)
    }

    /// Begins to give the own account a second factor. The password is asked for again: a session alone must not be enough to lock
    /// its owner out.
    pub async fn begin_factor(&self, who: &Who, password: String) -> Result<Enrolment, AppError> {
        let user = self.check_own_password(who, password, "factor-password").await?;
        if self.repo.factor(user.id).await?.is_some() {
            return Err(AppError::Conflict("this account has a second factor already".into()));
        }
        let random = [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat();
        // The fixed bits of a UUID stand in bytes 6 and 8 of each half; hashing spreads the rest over the secret.
        let hash = <sha2::Sha256 as sha2::Digest>::digest(&random);
        let secret = Secret::new(hash[..SECRET_BYTES].into()).to_base32();
        self.pending.put_secret(who.session().unwrap_or_default(), &secret);
        Ok(Enrolment::new(&user.name, secret))
    }

    /// The enrolment that is under way, to be shown again after a wrong code.
    pub fn pending_factor(&self, who: &Who) -> Option<Enrolment> {
        Some(Enrolment::new(&who.name, self.pending.secret(who.session()?)?))
    }

    /// Completes it with the first code: the recovery codes, which are shown this once.
    pub async fn confirm_factor(&self, who: &Who, code: &str) -> Result<Vec<String>, AppError> {
        self.slow_codes_down(&who.name)?;
        let Some(secret) = who.session().and_then(|session| self.pending.secret(session)) else {
            return Err(AppError::Conflict("this took too long; begin again with your password".into()));
        };
        let Some(step) = step_of(&secret, code)? else {
            return Err(AppError::field(
                "code",
                "this is not the code of this moment; is the clock of the device right?",
            ));
        };
        let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| recovery_code()).collect();
        let hashes: Vec<String> = codes.iter().map(|code| recovery_hash(code)).collect();
        self.repo.set_factor(who.id, &secret, step, &hashes, who.session()).await?;
        self.pending.forget_secret(who.session().unwrap_or_default());
        self.watchers.touch_rights();
        self.audit(who, None, "add-second-factor", &who.name, "", "done; other sessions ended").await?;
        Ok(codes)
    }

    /// Takes the own second factor away, with the password and a code.
    pub async fn remove_own_factor(&self, who: &Who, password: String, code: &str) -> Result<(), AppError> {
        let user = self.check_own_password(who, password, "factor-password").await?;
        self.slow_codes_down(&who.name)?;
        if !self.take_code(&user, code, &who.address).await? {
            return Err(AppError::field("code", "this code is wrong, or was used already"));
        }
        self.repo.remove_factor(user.id).await?;
        Ok(self.audit(who, None, "remove-second-factor", &who.name, "", "done").await?)
    }

    /// Whether this is a session of an account that must switch a second factor on first. Tokens were made in sessions, and
    /// scripts have no authenticator.
    pub async fn lacks_factor(&self, who: &Who) -> Result<bool, RepoError> {
        if who.session().is_none() {
            return Ok(false);
        }
        self.owes_factor(who.id, &who.access).await
    }

    async fn owes_factor(&self, user: UserId, access: &Access) -> Result<bool, RepoError> {
        match self.repo.factor_demanded_from().await? {
            Some(from) if access.highest() >= Some(from) => Ok(self.repo.factor(user).await?.is_none()),
            _ => Ok(false),
        }
    }

    /// The accounts that must switch a second factor on before they can do anything else.
    pub async fn without_demanded_factor(&self) -> Result<Vec<String>, RepoError> {
        let Some(from) = self.repo.factor_demanded_from().await? else { return Ok(Vec::new()) };
        let lacks = |account: Listed| {
            let access = Access::new(account.user.everywhere, account.grants, None);
            (access.highest() >= Some(from) && !account.has_factor).then_some(account.user.name)
        };
        Ok(self.accounts().await?.into_iter().filter_map(lacks).collect())
    }

    /// Demands a second factor of every account with this role, or a higher one, everywhere or on a cluster; of nobody if `None`.
    pub async fn demand_factor(&self, who: &Who, from: Option<Role>) -> Result<(), AppError> {
        if from.is_some() && who.access.everywhere() >= from && self.repo.factor(who.id).await?.is_none() {
            return Err(AppError::field(
                "from",
                "switch your own second factor on first, under Preferences: so it is known to work here",
            ));
        }
        self.repo.demand_factor(from).await?;
        self.watchers.touch_rights();
        let of = from.map_or("nobody", Role::name);
        Ok(self.audit(who, None, "demand-second-factor", "luci", &format!("of: {of}"), "done").await?)
    }

    /// Takes the second factor of another account away, and ends its sessions: whoever lost the device may have lost more.
    pub async fn remove_factor(&self, who: &Who, name: &str) -> Result<(), AppError> {
        let user = self.account(name).await?;
        if user.id == who.id {
            return Err(AppError::Conflict("take your own second factor away on the page Preferences".into()));
        }
        if !self.repo.remove_factor(user.id).await? {
            return Err(AppError::Conflict(format!("{name} has no second factor")));
        }
        self.repo.end_sessions_of(user.id).await?;
        self.watchers.touch_rights();
        Ok(self.audit(who, None, "remove-second-factor", &user.name, "", "done; all sessions ended").await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_of_the_standard() {
        // RFC 6238, appendix B: the secret 12345678901234567890, SHA-1; of its eight digits the last six.
        let secret = Secret::new(Box::from(*b"12345678901234567890")).to_base32();
        let totp = totp(&secret).expect("a secret");
        for (time, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            assert_eq!(totp.generate(time).to_string(), code);
        }
    }

    #[test]
    fn a_recovery_code_is_known_however_it_is_typed() {
        let code = recovery_code();
        assert_eq!(code.len(), 11);
        assert_ne!(code, recovery_code());
        assert_eq!(recovery_hash(&code), recovery_hash(&code.to_lowercase().replace('-', " ")));
    }

    #[test]
    fn a_login_under_way_ends_after_a_few_wrong_codes() {
        let pending = Pending::default();
        let token = pending.begin(UserId(1), "browser");
        for _ in 0..TRIES {
            assert!(pending.take_try(&token).is_some());
        }
        assert!(pending.take_try(&token).is_none());
    }
}
