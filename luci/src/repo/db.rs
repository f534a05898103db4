//! The seam between luci's statements and the two databases that run them: SQLite in a file, or PostgreSQL. Each statement is
//! written once, in the words that both understand (docs/decisions/0010). Used by the rooms of `repo` alone.

use std::marker::PhantomData;
use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{
    Arguments as _, Encode, FromRow, PgTransaction, Postgres, SqlSafeStr, SqlStr, Sqlite, SqliteTransaction, Type,
};

use super::RepoError;

/// Connections to the database. SQLite lets one write at a time, whatever their number.
const CONNECTIONS: u32 = 8;
/// SQLite's own cache of each connection, in KiB by its minus; the kernel's, which they share, has the whole file.
const PAGE_CACHE: &str = "-512";
/// A statement that finds the file locked by another process (`luci user`, `luci backup`) waits this long.
const BUSY: Duration = Duration::from_secs(10);
/// PostgreSQL that gives no connection within this time is taken for down; a page says so instead of hanging.
const ACQUIRE: Duration = Duration::from_secs(10);

/// The open database.
#[derive(Debug, Clone)]
pub(super) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// Several statements, all or none; undone if it is dropped without `commit`.
pub(super) enum Tx {
    Sqlite(SqliteTransaction<'static>),
    Postgres(PgTransaction<'static>),
}

/// Where a statement runs.
pub(super) enum On<'a> {
    Pool(&'a Pool),
    Tx(&'a mut Tx),
}

impl<'a> From<&'a Pool> for On<'a> {
    fn from(pool: &'a Pool) -> Self {
        Self::Pool(pool)
    }
}

impl<'a> From<&'a mut Tx> for On<'a> {
    fn from(tx: &'a mut Tx) -> Self {
        Self::Tx(tx)
    }
}

impl Tx {
    pub(super) async fn commit(self) -> sqlx::Result<()> {
        match self {
            Self::Sqlite(tx) => tx.commit().await,
            Self::Postgres(tx) => tx.commit().await,
        }
    }
}

impl Pool {
    /// Opens the file, makes it if there is none, brings the schema up to date.
    pub(super) async fn file(path: &Path) -> Result<Self, RepoError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            // Full: a request that was answered "accepted" is found again after a power cut.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .pragma("cache_size", PAGE_CACHE);
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await?;
        sqlx::migrate!("../migrations").run(&pool).await?;
        Ok(Self::Sqlite(pool))
    }

    /// Connects to a database of PostgreSQL, and brings the schema up to date.
    pub(super) async fn postgres(url: &str) -> Result<Self, RepoError> {
        let options = PgConnectOptions::from_str(url)?.application_name("luci");
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(ACQUIRE);
        let pool = pool.connect_with(options).await?;
        sqlx::migrate!("../migrations/postgres").run(&pool).await?;
        Ok(Self::Postgres(pool))
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }

    pub(super) async fn begin(&self) -> sqlx::Result<Tx> {
        Ok(match self {
            Self::Sqlite(pool) => Tx::Sqlite(pool.begin().await?),
            Self::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }

    pub(super) fn query(&self, sql: impl SqlSafeStr) -> Query {
        let values = match self {
            Self::Sqlite(_) => Values::Sqlite(SqliteArguments::default()),
            Self::Postgres(_) => Values::Postgres(PgArguments::default()),
        };
        Query { sql: sql.into_sql_str(), values: Ok(values) }
    }

    pub(super) fn query_as<T>(&self, sql: impl SqlSafeStr) -> QueryAs<T> {
        QueryAs { query: self.query(sql), row: PhantomData }
    }
}

/// Values that are bound, in the form of the database that gets them.
enum Values {
    Sqlite(SqliteArguments),
    Postgres(PgArguments),
}

/// A statement with its values.
pub(super) struct Query {
    sql: SqlStr,
    values: sqlx::Result<Values>,
}

/// A statement whose rows are read as `T`.
pub(super) struct QueryAs<T> {
    query: Query,
    row: PhantomData<T>,
}

/// What a statement did.
pub(super) struct Done {
    rows: u64,
}

impl Done {
    pub(super) fn rows_affected(&self) -> u64 {
        self.rows
    }
}

/// A value that both databases take.
pub(super) trait Bind<'q>: Encode<'q, Sqlite> + Type<Sqlite> + Encode<'q, Postgres> + Type<Postgres> {}
impl<'q, V: Encode<'q, Sqlite> + Type<Sqlite> + Encode<'q, Postgres> + Type<Postgres>> Bind<'q> for V {}

/// A row that both databases give.
pub(super) trait Row: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}
impl<T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin> Row for T {}

/// Runs the same call on whichever database it is.
macro_rules! on {
    ($query:expr, $on:expr, $function:ident, |$bound:ident, $where:ident| $run:expr) => {{
        let Query { sql, values } = $query;
        match (values?, $on.into()) {
            (Values::Sqlite(values), On::Pool(Pool::Sqlite($where))) => {
                let $bound = sqlx::$function(sql, values);
                $run
            }
            (Values::Sqlite(values), On::Tx(Tx::Sqlite(tx))) => {
                let ($bound, $where) = (sqlx::$function(sql, values), &mut **tx);
                $run
            }
            (Values::Postgres(values), On::Pool(Pool::Postgres($where))) => {
                let $bound = sqlx::$function(sql, values);
                $run
            }
            (Values::Postgres(values), On::Tx(Tx::Postgres(tx))) => {
                let ($bound, $where) = (sqlx::$function(sql, values), &mut **tx);
                $run
            }
            _ => Err(sqlx::Error::Configuration("a statement for one database was run on another".into())),
        }
    }};
}

impl Query {
    pub(super) fn bind<'q, V: Bind<'q>>(mut self, value: V) -> Self {
        let added = match &mut self.values {
            Ok(Values::Sqlite(values)) => values.add(value),
            Ok(Values::Postgres(values)) => values.add(value),
            Err(_) => Ok(()),
        };
        if let Err(error) = added {
            self.values = Err(sqlx::Error::Encode(error));
        }
        self
    }

    pub(super) async fn execute<'a>(self, on: impl Into<On<'a>>) -> sqlx::Result<Done> {
        let rows = on!(self, on, query_with, |query, on| query.execute(on).await.map(|done| done.rows_affected()))?;
        Ok(Done { rows })
    }
}

impl<T: Row> QueryAs<T> {
    pub(super) fn bind<'q, V: Bind<'q>>(self, value: V) -> Self {
        Self { query: self.query.bind(value), row: PhantomData }
    }

    pub(super) async fn fetch_all<'a>(self, on: impl Into<On<'a>>) -> sqlx::Result<Vec<T>> {
        on!(self.query, on, query_as_with, |query, on| query.fetch_all(on).await)
    }

    pub(super) async fn fetch_optional<'a>(self, on: impl Into<On<'a>>) -> sqlx::Result<Option<T>> {
        on!(self.query, on, query_as_with, |query, on| query.fetch_optional(on).await)
    }

    pub(super) async fn fetch_one<'a>(self, on: impl Into<On<'a>>) -> sqlx::Result<T> {
        on!(self.query, on, query_as_with, |query, on| query.fetch_one(on).await)
    }
}
