//! Answers kept under idempotency keys, so that a repeated request is not carried out twice.

use super::{Repo, Result};
use crate::clock;
use crate::ids::UserId;

/// How long an answer is kept.
const KEEP_MS: i64 = 24 * 3600 * 1000;
/// A request that has not ended after this never will: luci was killed at it.
const UNDER_WAY_MS: i64 = 120_000;

/// What is known of a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing; it is now under way.
    New,
    /// It was used for another request.
    Other,
    UnderWay,
    Answered(StoredAnswer),
}

/// An answer as it was given.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredAnswer {
    pub status: i64,
    pub kind: String,
    pub location: Option<String>,
    pub body: String,
}

#[derive(sqlx::FromRow)]
struct Row {
    fingerprint: String,
    status: Option<i64>,
    kind: Option<String>,
    location: Option<String>,
    body: Option<String>,
}

impl Repo {
    /// Marks a key as being used, or says what became of its first use.
    pub async fn begin_once(&self, user: UserId, key: &str, fingerprint: &str) -> Result<Known> {
        let now = clock::now_ms();
        self.query("DELETE FROM answers WHERE at < $1 OR (status IS NULL AND at < $2)")
            .bind(now - KEEP_MS)
            .bind(now - UNDER_WAY_MS)
            .execute(&self.pool)
            .await?;
        let begun = self
            .query("INSERT INTO answers (user_id, key, fingerprint, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING")
            .bind(user)
            .bind(key)
            .bind(fingerprint)
            .bind(now)
            .execute(&self.pool)
            .await?;
        if begun.rows_affected() == 1 {
            return Ok(Known::New);
        }
        let row: Option<Row> = self
            .query_as("SELECT fingerprint, status, kind, location, body FROM answers WHERE user_id = $1 AND key = $2")
            .bind(user)
            .bind(key)
            .fetch_optional(&self.pool)
            .await?;
        Ok(match row {
            Some(row) if row.fingerprint != fingerprint => Known::Other,
            Some(Row { status: Some(status), kind, location, body, .. }) => Known::Answered(StoredAnswer {
                status,
                kind: kind.unwrap_or_default(),
                location,
                body: body.unwrap_or_default(),
            }),
            // Gone in between: the first one failed and may be tried again, but not in the same moment.
            Some(_) | None => Known::UnderWay,
        })
    }

    /// Keeps the answer of a key.
    pub async fn end_once(&self, user: UserId, key: &str, answer: &StoredAnswer) -> Result<()> {
        self.query(
            "UPDATE answers SET status = $3, kind = $4, location = $5, body = $6 WHERE user_id = $1 AND key = $2",
        )
        .bind(user)
        .bind(key)
        .bind(answer.status)
        .bind(&answer.kind)
        .bind(&answer.location)
        .bind(&answer.body)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Lets a key be used again.
    pub async fn forget_once(&self, user: UserId, key: &str) -> Result<()> {
        self.query("DELETE FROM answers WHERE user_id = $1 AND key = $2")
            .bind(user)
            .bind(key)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
