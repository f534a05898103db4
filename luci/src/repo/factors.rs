//! Second factors: the shared secret, the last code that was taken, and the recovery codes, which are stored hashed.

use std::collections::BTreeSet;

use super::{Repo, Result};
use crate::clock;
use crate::ids::UserId;
use crate::repo::users::Role;

/// Name of the setting that says of whom a second factor is demanded.
const DEMANDED_FROM: &str = "second-factor-from";

/// The second factor of an account.
#[derive(Clone, sqlx::FromRow)]
pub struct Factor {
    /// In base32.
    pub totp_secret: String,
    pub totp_since: i64,
}

impl Repo {
    /// The second factor of an account, if it has one.
    pub async fn factor(&self, user: UserId) -> Result<Option<Factor>> {
        let sql = "SELECT totp_secret, coalesce(totp_since, 0) AS totp_since FROM users WHERE id = $1 AND totp_secret IS NOT NULL";
        Ok(self.query_as(sql).bind(user).fetch_optional(&self.pool).await?)
    }

    /// The accounts that have a second factor.
    pub async fn users_with_factor(&self) -> Result<BTreeSet<UserId>> {
        let sql = "SELECT id FROM users WHERE totp_secret IS NOT NULL";
        let rows: Vec<(UserId,)> = self.query_as(sql).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// Gives an account a second factor with its recovery codes, the code of `step` being used up, and ends its other sessions:
    /// they were opened without it. All or nothing.
    pub async fn set_factor(
        &self,
        user: UserId,
        secret: &str,
        step: i64,
        code_hashes: &[String],
        keep: Option<&str>,
    ) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        self.query("UPDATE users SET totp_secret = $2, totp_step = $3, totp_since = $4 WHERE id = $1")
            .bind(user)
            .bind(secret)
            .bind(step)
            .bind(clock::now_ms())
            .execute(&mut tx)
            .await?;
        self.query("DELETE FROM recovery_codes WHERE user_id = $1").bind(user).execute(&mut tx).await?;
        for hash in code_hashes {
            self.query("INSERT INTO recovery_codes (user_id, code_hash) VALUES ($1, $2)")
                .bind(user)
                .bind(hash)
                .execute(&mut tx)
                .await?;
        }
        self.query("DELETE FROM sessions WHERE user_id = $1 AND token_hash <> $2")
            .bind(user)
            .bind(keep.unwrap_or_default())
            .execute(&mut tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes the second factor away; false if there was none.
    pub async fn remove_factor(&self, user: UserId) -> Result<bool> {
        let mut tx = self.pool.begin().await?;
        let done = self
            .query(
                "UPDATE users SET totp_secret = NULL, totp_step = NULL, totp_since = NULL
                 WHERE id = $1 AND totp_secret IS NOT NULL",
            )
            .bind(user)
            .execute(&mut tx)
            .await?;
        self.query("DELETE FROM recovery_codes WHERE user_id = $1").bind(user).execute(&mut tx).await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// Uses the code of a time step up; false if it, or a later one, was used already.
    pub async fn use_step(&self, user: UserId, step: i64) -> Result<bool> {
        let done = self
            .query("UPDATE users SET totp_step = $2 WHERE id = $1 AND coalesce(totp_step, -1) < $2")
            .bind(user)
            .bind(step)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Uses a recovery code up; how many are left, or `None` if there is no such code.
    pub async fn use_recovery_code(&self, user: UserId, code_hash: &str) -> Result<Option<i64>> {
        let done = self
            .query("DELETE FROM recovery_codes WHERE user_id = $1 AND code_hash = $2")
            .bind(user)
            .bind(code_hash)
            .execute(&self.pool)
            .await?;
        if done.rows_affected() != 1 {
            return Ok(None);
        }
        Ok(Some(self.recovery_codes_left(user).await?))
    }

    /// The least role that demands a second factor; `None`: of nobody is one demanded.
    pub async fn factor_demanded_from(&self) -> Result<Option<Role>> {
        let sql = "SELECT value FROM settings WHERE name = $1";
        let found: Option<(String,)> = self.query_as(sql).bind(DEMANDED_FROM).fetch_optional(&self.pool).await?;
        Ok(found.and_then(|(value,)| Role::parse(&value)))
    }

    /// Demands a second factor of every account that has this role somewhere, or of nobody.
    pub async fn demand_factor(&self, from: Option<Role>) -> Result<()> {
        let Some(role) = from else {
            self.query("DELETE FROM settings WHERE name = $1").bind(DEMANDED_FROM).execute(&self.pool).await?;
            return Ok(());
        };
        let sql = "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2";
        self.query(sql).bind(DEMANDED_FROM).bind(role.name()).execute(&self.pool).await?;
        Ok(())
    }

    /// How many recovery codes an account has left.
    pub async fn recovery_codes_left(&self, user: UserId) -> Result<i64> {
        let sql = "SELECT count(*) FROM recovery_codes WHERE user_id = $1";
        let (left,): (i64,) = self.query_as(sql).bind(user).fetch_one(&self.pool).await?;
        Ok(left)
    }
}
