//! luci's memory: SQLite, created and migrated at start. Called by `app`, `tasks` and `watcher`; knows SQL and rows,
//! decides nothing.

pub mod access;
pub mod audit;
pub mod clusters;
pub mod confs;
pub mod drafts;
pub mod events;
pub mod nodes;
pub mod once;
pub mod requests;
pub mod sessions;
pub mod tasks;
pub mod users;

use std::path::Path;
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

/// The database could not do what was asked; always our fault or the disk's.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    #[error("database")]
    Sql(#[from] sqlx::Error),
    #[error("migrating the database")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("a stored {what} cannot be read")]
    Stored { what: &'static str, source: serde_json::Error },
}

pub(crate) type Result<T> = std::result::Result<T, RepoError>;

/// Handle of the database.
#[derive(Debug, Clone)]
pub struct Repo {
    pool: SqlitePool,
}

impl Repo {
    /// Opens the file, makes it if there is none, brings the schema up to date.
    pub async fn open(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            // Full: a request that was answered "accepted" is found again after a power cut.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10));
        let pool = SqlitePoolOptions::new().max_connections(8).connect_with(options).await?;
        sqlx::migrate!("../migrations").run(&pool).await?;
        Ok(Self { pool })
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Writes a whole and consistent copy, while others read and write.
    pub async fn copy_to(&self, path: &Path) -> Result<()> {
        let path = path.to_string_lossy().into_owned();
        sqlx::query("VACUUM INTO $1").bind(path).execute(&self.pool).await?;
        Ok(())
    }

    /// Whether the database answers and takes writes: the disk may be full, or another process hold it.
    pub async fn can_write(&self) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("UPDATE setup_links SET created_at = created_at").execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }
}

fn to_json<T: serde::Serialize>(what: &'static str, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|source| RepoError::Stored { what, source })
}

fn from_json<T: serde::de::DeserializeOwned>(what: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|source| RepoError::Stored { what, source })
}
