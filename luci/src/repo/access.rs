//! Who may what: roles on single clusters, and the tokens of the API. Tokens are stored hashed.

use std::collections::BTreeMap;

use super::{Repo, Result};
use crate::clock;
use crate::ids::{ClusterId, TokenId, UserId};
use crate::repo::users::Role;

/// `used_at` is written at most this often, so that a client that reads does not write to the disk.
const USED_STEP_MS: i64 = 60_000;

/// A token of the API, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ApiToken {
    pub id: TokenId,
    pub user_id: UserId,
    pub name: String,
    /// The most that it may, whatever its account may.
    pub role: Role,
    /// The only cluster it is for; `None`: all that its account sees.
    pub cluster_id: Option<ClusterId>,
    pub created_at: i64,
    pub used_at: Option<i64>,
}

/// A token to be made.
#[derive(Debug)]
pub struct NewApiToken<'a> {
    pub token_hash: &'a str,
    pub user: UserId,
    pub name: &'a str,
    pub role: Role,
    pub cluster: Option<ClusterId>,
}

impl Repo {
    /// The roles that an account has on single clusters.
    pub async fn grants_of(&self, user: UserId) -> Result<BTreeMap<ClusterId, Role>> {
        let rows: Vec<(ClusterId, Role)> = self
            .query_as("SELECT cluster_id, role FROM grants WHERE user_id = $1")
            .bind(user)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.into_iter().collect())
    }

    /// The same of all accounts that have any.
    pub async fn grants(&self) -> Result<BTreeMap<UserId, BTreeMap<ClusterId, Role>>> {
        let rows: Vec<(UserId, ClusterId, Role)> =
            self.query_as("SELECT user_id, cluster_id, role FROM grants").fetch_all(&self.pool).await?;
        let mut grants: BTreeMap<UserId, BTreeMap<ClusterId, Role>> = BTreeMap::new();
        for (user, cluster, role) in rows {
            grants.entry(user).or_default().insert(cluster, role);
        }
        Ok(grants)
    }

    /// Replaces all roles of an account, everywhere and on single clusters, at once.
    pub async fn set_roles(
        &self,
        user: UserId,
        everywhere: Option<Role>,
        grants: &BTreeMap<ClusterId, Role>,
    ) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        self.query("UPDATE users SET everywhere = $2 WHERE id = $1")
            .bind(user)
            .bind(everywhere)
            .execute(&mut tx)
            .await?;
        self.query("DELETE FROM grants WHERE user_id = $1").bind(user).execute(&mut tx).await?;
        for (cluster, role) in grants {
            self.query("INSERT INTO grants (user_id, cluster_id, role) VALUES ($1, $2, $3)")
                .bind(user)
                .bind(cluster)
                .bind(role)
                .execute(&mut tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// False if the account already has a token of this name.
    pub async fn add_api_token(&self, token: NewApiToken<'_>) -> Result<bool> {
        let done = self
            .query(
                "INSERT INTO api_tokens (token_hash, user_id, name, role, cluster_id, created_at)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (user_id, name) DO NOTHING",
            )
            .bind(token.token_hash)
            .bind(token.user)
            .bind(token.name)
            .bind(token.role)
            .bind(token.cluster)
            .bind(clock::now_ms())
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// In order of their names.
    pub async fn api_tokens_of(&self, user: UserId) -> Result<Vec<ApiToken>> {
        Ok(self
            .query_as(
                "SELECT id, user_id, name, role, cluster_id, created_at, used_at FROM api_tokens
             WHERE user_id = $1 ORDER BY name",
            )
            .bind(user)
            .fetch_all(&self.pool)
            .await?)
    }

    /// The token with this hash, unless it was revoked.
    pub async fn api_token(&self, token_hash: &str) -> Result<Option<ApiToken>> {
        let now = clock::now_ms();
        let found: Option<ApiToken> = self
            .query_as(
                "SELECT id, user_id, name, role, cluster_id, created_at, used_at FROM api_tokens WHERE token_hash = $1",
            )
            .bind(token_hash)
            .fetch_optional(&self.pool)
            .await?;
        if let Some(token) = &found
            && now - token.used_at.unwrap_or(0) > USED_STEP_MS
        {
            self.query("UPDATE api_tokens SET used_at = $2 WHERE id = $1")
                .bind(token.id)
                .bind(now)
                .execute(&self.pool)
                .await?;
        }
        Ok(found)
    }

    /// Ends a token of this account; its name, or `None` if there is no such token.
    pub async fn revoke_api_token(&self, user: UserId, token: TokenId) -> Result<Option<String>> {
        let row: Option<(String,)> = self
            .query_as("DELETE FROM api_tokens WHERE user_id = $1 AND id = $2 RETURNING name")
            .bind(user)
            .bind(token)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|(name,)| name))
    }
}
