//! Browser sessions. Tokens are stored hashed.

use super::{Repo, Result};
use crate::clock;
use crate::ids::{SessionId, UserId};
use crate::repo::users::{Preferences, Role};

/// A session that is unused for this long is over.
const IDLE_MS: i64 = 12 * 3600 * 1000;
/// A session is over after this time whatever its use.
const LIFE_MS: i64 = 7 * 24 * 3600 * 1000;
/// `seen_at` is written at most this often, so that reading a page does not write to the disk.
const SEEN_STEP_MS: i64 = 60_000;

/// An open session with its account.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Session {
    pub token_hash: String,
    pub user_id: UserId,
    pub csrf: String,
    pub created_at: i64,
    pub seen_at: i64,
    pub user_name: String,
    pub everywhere: Option<Role>,
    #[sqlx(flatten)]
    pub preferences: Preferences,
}

/// A session as its owner and the administrators see it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct OpenSession {
    pub id: SessionId,
    pub token_hash: String,
    pub created_at: i64,
    pub seen_at: i64,
    pub address: String,
    pub browser: String,
}

/// Where a session was opened from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    pub address: &'a str,
    /// What the browser calls itself; a session goes on only with the same.
    pub browser: &'a str,
}

impl Repo {
    pub async fn open_session(&self, token_hash: &str, user: UserId, csrf: &str, from: Origin<'_>) -> Result<()> {
        let now = clock::now_ms();
        self.query("DELETE FROM sessions WHERE seen_at < $1 OR created_at < $2")
            .bind(now - IDLE_MS)
            .bind(now - LIFE_MS)
            .execute(&self.pool)
            .await?;
        self.query(
            "INSERT INTO sessions (token_hash, user_id, csrf, created_at, seen_at, address, browser)
             VALUES ($1, $2, $3, $4, $4, $5, $6)",
        )
        .bind(token_hash)
        .bind(user)
        .bind(csrf)
        .bind(now)
        .bind(from.address)
        .bind(from.browser)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The session, unless it is over or another browser uses it. `browser` is `None` for a page that is open already.
    pub async fn session(&self, token_hash: &str, browser: Option<&str>) -> Result<Option<Session>> {
        let now = clock::now_ms();
        let found: Option<Session> = self.query_as(
            "SELECT s.token_hash, s.user_id, s.csrf, s.created_at, s.seen_at, u.name AS user_name, u.everywhere, u.theme, u.language,
                    u.lines
             FROM sessions s JOIN users u ON u.id = s.user_id
             WHERE s.token_hash = $1 AND s.seen_at >= $2 AND s.created_at >= $3 AND ($4 IS NULL OR s.browser = $4)",
        )
        .bind(token_hash)
        .bind(now - IDLE_MS)
        .bind(now - LIFE_MS)
        .bind(browser)
        .fetch_optional(&self.pool)
        .await?;
        if let Some(session) = &found
            && now - session.seen_at > SEEN_STEP_MS
        {
            self.query("UPDATE sessions SET seen_at = $2 WHERE token_hash = $1")
                .bind(token_hash)
                .bind(now)
                .execute(&self.pool)
                .await?;
        }
        Ok(found)
    }

    pub async fn close_session(&self, token_hash: &str) -> Result<()> {
        self.query("DELETE FROM sessions WHERE token_hash = $1").bind(token_hash).execute(&self.pool).await?;
        Ok(())
    }

    /// The open sessions of an account, the one used last first.
    pub async fn sessions_of(&self, user: UserId) -> Result<Vec<OpenSession>> {
        let now = clock::now_ms();
        Ok(self
            .query_as(
                "SELECT rowid AS id, token_hash, created_at, seen_at, address, browser FROM sessions
             WHERE user_id = $1 AND seen_at >= $2 AND created_at >= $3 ORDER BY seen_at DESC",
            )
            .bind(user)
            .bind(now - IDLE_MS)
            .bind(now - LIFE_MS)
            .fetch_all(&self.pool)
            .await?)
    }

    /// Ends a session of this account; false if there is no such session.
    pub async fn revoke_session(&self, user: UserId, session: SessionId) -> Result<bool> {
        let done = self
            .query("DELETE FROM sessions WHERE user_id = $1 AND rowid = $2")
            .bind(user)
            .bind(session)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Ends all sessions of an account.
    pub async fn end_sessions_of(&self, user: UserId) -> Result<()> {
        self.query("DELETE FROM sessions WHERE user_id = $1").bind(user).execute(&self.pool).await?;
        Ok(())
    }

    /// Ends every session: the database has moved to another machine.
    pub async fn end_all_sessions(&self) -> Result<()> {
        self.query("DELETE FROM sessions").execute(&self.pool).await?;
        Ok(())
    }

    /// Leaves a message for the session's next page.
    pub async fn set_flash(&self, token_hash: &str, flash: &str) -> Result<()> {
        self.query("UPDATE sessions SET flash = $2 WHERE token_hash = $1")
            .bind(token_hash)
            .bind(flash)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Takes the message that was left.
    pub async fn take_flash(&self, token_hash: &str) -> Result<Option<String>> {
        let row: Option<(Option<String>,)> = self
            .query_as("SELECT flash FROM sessions WHERE token_hash = $1")
            .bind(token_hash)
            .fetch_optional(&self.pool)
            .await?;
        let flash = row.and_then(|(flash,)| flash);
        if flash.is_some() {
            self.query("UPDATE sessions SET flash = NULL WHERE token_hash = $1")
                .bind(token_hash)
                .execute(&self.pool)
                .await?;
        }
        Ok(flash)
    }
}
