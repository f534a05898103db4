//! Accounts and the one-time link that makes the first one.

use serde::{Deserialize, Serialize};

use super::{Repo, Result};
use crate::clock;
use crate::ids::UserId;
use crate::language::Language;

/// What an account may do. Each role may all that the one before may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, sqlx::Type)]
#[sqlx(type_name = "TEXT", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees.
    Viewer,
    /// Also starts, stops and moves services, and acts on nodes.
    Operator,
    /// Also changes configurations, clusters and accounts.
    Administrator,
}

impl Role {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Administrator => "administrator",
        }
    }

    /// All, from the least to the most.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Administrator];

    /// The role with this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == text)
    }
}

/// An account.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct User {
    pub id: UserId,
    pub name: String,
    /// Of no password at all, if the account logs in by PAM.
    pub password_hash: String,
    pub login: LoginBy,
    /// The role on every cluster and on luci itself; `None`: only what it has on single clusters.
    pub everywhere: Option<Role>,
    pub created_at: i64,
    #[sqlx(flatten)]
    pub preferences: Preferences,
}

/// Who knows an account's password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type)]
#[sqlx(type_name = "TEXT", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum LoginBy {
    /// luci, which stores its hash.
    Password,
    /// The system, by PAM.
    Pam,
}

/// How an account wants its pages.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Preferences {
    pub theme: Theme,
    /// `None`: what the browser asks for.
    pub language: Option<Language>,
    /// Most lines of a list on one page.
    pub lines: i64,
}

/// Colours of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "TEXT", rename_all = "lowercase")]
pub enum Theme {
    /// As the reader's system has it.
    Auto,
    Light,
    Dark,
}

impl Theme {
    /// All, for a choice.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Light, Self::Dark];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The theme with this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.name() == text)
    }
}

impl Repo {
    /// The account with this name, whatever the case of its letters.
    pub async fn user_by_name(&self, name: &str) -> Result<Option<User>> {
        Ok(self
            .query_as("SELECT * FROM users WHERE lower(name) = lower($1)")
            .bind(name)
            .fetch_optional(&self.pool)
            .await?)
    }

    pub async fn user(&self, id: UserId) -> Result<Option<User>> {
        Ok(self.query_as("SELECT * FROM users WHERE id = $1").bind(id).fetch_optional(&self.pool).await?)
    }

    pub async fn users(&self) -> Result<Vec<User>> {
        Ok(self.query_as("SELECT * FROM users ORDER BY lower(name)").fetch_all(&self.pool).await?)
    }

    /// An account that logs in by a password of luci. False if the name is taken.
    pub async fn add_user(&self, name: &str, password_hash: &str, everywhere: Option<Role>) -> Result<bool> {
        self.insert_user(name, password_hash, LoginBy::Password, everywhere).await
    }

    /// An account that logs in by PAM. False if the name is taken.
    pub async fn add_pam_user(&self, name: &str, everywhere: Option<Role>) -> Result<bool> {
        self.insert_user(name, "", LoginBy::Pam, everywhere).await
    }

    async fn insert_user(&self, name: &str, hash: &str, login: LoginBy, everywhere: Option<Role>) -> Result<bool> {
        let done = self.query(
            "INSERT INTO users (name, password_hash, login, everywhere, created_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        )
        .bind(name)
        .bind(hash)
        .bind(login)
        .bind(everywhere)
        .bind(clock::now_ms())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Stores the same password hashed anew; sessions go on.
    pub async fn rehash_password(&self, user: UserId, password_hash: &str) -> Result<()> {
        self.query("UPDATE users SET password_hash = $2 WHERE id = $1")
            .bind(user)
            .bind(password_hash)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// How this account wants its pages.
    pub async fn set_preferences(&self, user: UserId, preferences: &Preferences) -> Result<()> {
        self.query("UPDATE users SET theme = $2, lines = $3, language = $4 WHERE id = $1")
            .bind(user)
            .bind(preferences.theme)
            .bind(preferences.lines)
            .bind(preferences.language)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Sets a password of luci, by which the account logs in from now on, and ends its sessions; false if there is no such account.
    pub async fn set_password(&self, name: &str, password_hash: &str) -> Result<bool> {
        let mut tx = self.pool.begin().await?;
        let done = self
            .query("UPDATE users SET password_hash = $2, login = 'password' WHERE lower(name) = lower($1)")
            .bind(name)
            .bind(password_hash)
            .execute(&mut tx)
            .await?;
        self.query("DELETE FROM sessions WHERE user_id IN (SELECT id FROM users WHERE lower(name) = lower($1))")
            .bind(name)
            .execute(&mut tx)
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// False if there is no such account.
    pub async fn remove_user(&self, name: &str) -> Result<bool> {
        let done = self.query("DELETE FROM users WHERE lower(name) = lower($1)").bind(name).execute(&self.pool).await?;
        Ok(done.rows_affected() == 1)
    }

    pub async fn has_users(&self) -> Result<bool> {
        let (count,): (i64,) = self.query_as("SELECT count(*) FROM users").fetch_one(&self.pool).await?;
        Ok(count > 0)
    }

    /// Replaces the one-time link.
    pub async fn set_setup_link(&self, token_hash: &str) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        self.query("DELETE FROM setup_links").execute(&mut tx).await?;
        self.query("INSERT INTO setup_links (token_hash, created_at) VALUES ($1, $2)")
            .bind(token_hash)
            .bind(clock::now_ms())
            .execute(&mut tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    pub async fn is_setup_link(&self, token_hash: &str) -> Result<bool> {
        let row: Option<(i64,)> = self
            .query_as("SELECT created_at FROM setup_links WHERE token_hash = $1")
            .bind(token_hash)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.is_some())
    }

    /// Uses the one-time link up and makes the first administrator, both or neither.
    pub async fn use_setup_link(&self, token_hash: &str, name: &str, password_hash: &str) -> Result<bool> {
        let mut tx = self.pool.begin().await?;
        let used =
            self.query("DELETE FROM setup_links WHERE token_hash = $1").bind(token_hash).execute(&mut tx).await?;
        if used.rows_affected() != 1 {
            return Ok(false);
        }
        self.query("INSERT INTO users (name, password_hash, everywhere, created_at) VALUES ($1, $2, $3, $4)")
            .bind(name)
            .bind(password_hash)
            .bind(Role::Administrator)
            .bind(clock::now_ms())
            .execute(&mut tx)
            .await?;
        tx.commit().await?;
        Ok(true)
    }
}
