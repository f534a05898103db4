//! luci's memory: SQLite or PostgreSQL, created and migrated at start. Called by `app`, `tasks` and `watcher`; knows SQL and rows,
//! decides nothing.

pub mod access;
pub mod agents;
pub mod audit;
pub mod clusters;
pub mod confs;
mod copy;
mod db;
pub mod drafts;
pub mod events;
pub mod factors;
pub mod fencing;
pub mod nodes;
pub mod once;
pub mod requests;
pub mod sessions;
pub mod tasks;
pub mod users;

use std::path::Path;

use sqlx::SqlSafeStr;

use db::{Pool, Query, QueryAs};

/// The database could not do what was asked; always our fault or the disk's.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    #[error("database")]
    Sql(#[from] sqlx::Error),
    #[error("migrating the database")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A copy may only be written where nothing is lost by it.
    #[error("the database holds {what} already; name an empty one")]
    NotEmpty { what: &'static str },
    #[error("a stored {what} cannot be read")]
    Stored { what: &'static str, source: serde_json::Error },
}

pub(crate) type Result<T> = std::result::Result<T, RepoError>;

/// Handle of the database.
#[derive(Debug, Clone)]
pub struct Repo {
    pool: Pool,
}

impl Repo {
    /// Opens the file of SQLite, makes it if there is none, brings the schema up to date.
    pub async fn open(path: &Path) -> Result<Self> {
        Ok(Self { pool: Pool::file(path).await? })
    }

    /// Connects to a database of PostgreSQL (`postgres://…`), and brings the schema up to date.
    pub async fn connect(url: &str) -> Result<Self> {
        Ok(Self { pool: Pool::postgres(url).await? })
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Whether the database answers and takes writes: the disk may be full, or another process hold it.
    pub async fn can_write(&self) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        self.query("UPDATE setup_links SET created_at = created_at").execute(&mut tx).await?;
        Ok(tx.commit().await?)
    }

    fn query(&self, sql: impl SqlSafeStr) -> Query {
        self.pool.query(sql)
    }

    fn query_as<T>(&self, sql: impl SqlSafeStr) -> QueryAs<T> {
        self.pool.query_as(sql)
    }
}

fn to_json<T: serde::Serialize>(what: &'static str, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|source| RepoError::Stored { what, source })
}

fn from_json<T: serde::de::DeserializeOwned>(what: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|source| RepoError::Stored { what, source })
}
