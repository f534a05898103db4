//! Copies a whole database: SQLite to a file by its own means, PostgreSQL into such a file and out of it row by row. So a backup is the
//! same file whatever database it came from, and a console moves from one to the other by backup and restore.

use std::path::Path;

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Column as _, FromRow, Row as _, TypeInfo as _, ValueRef as _};

use super::db::{Pool, Query, Tx};
use super::{Repo, RepoError, Result};

/// Every table that is copied, those that others refer to first. Sessions and one-time links are not: they end with a move.
const TABLES: [&str; 19] = [
    "users",
    "clusters",
    "nodes",
    "conf_versions",
    "requests",
    "events",
    "tasks",
    "task_steps",
    "audit",
    "grants",
    "api_tokens",
    "answers",
    "drafts",
    "agent_schemas",
    "node_agents",
    "fence_tests",
    "fence_proofs",
    "recovery_codes",
    "settings",
];
/// Tables whose rows PostgreSQL numbers by itself: after a copy it goes on behind the largest number.
const NUMBERED: [&str; 7] = ["users", "clusters", "nodes", "events", "audit", "api_tokens", "drafts"];
/// Rows that are read at once.
const CHUNK: i64 = 500;

/// One value of a row, of the few kinds that luci stores.
#[derive(Debug, Clone)]
enum Value {
    Nothing,
    Number(i64),
    Text(String),
    Flag(bool),
}

/// What PostgreSQL calls a column's type; SQLite has numbers for flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    Flag,
}

impl Kind {
    fn of(name: &str) -> Kind {
        match name {
            "BOOL" | "boolean" => Self::Flag,
            "INT8" | "INTEGER" | "bigint" => Self::Number,
            _ => Self::Text,
        }
    }
}

/// A row of any table.
#[derive(Debug)]
struct AnyRow(Vec<Value>);

/// Reads each column as what it is.
macro_rules! read_row {
    ($row:ident) => {{
        let mut values = Vec::with_capacity($row.columns().len());
        for column in $row.columns() {
            let at = column.ordinal();
            let raw = $row.try_get_raw(at)?;
            let kind = Kind::of(raw.type_info().name());
            values.push(match kind {
                _ if raw.is_null() => Value::Nothing,
                Kind::Number => Value::Number($row.try_get(at)?),
                Kind::Text => Value::Text($row.try_get(at)?),
                Kind::Flag => Value::Flag($row.try_get(at)?),
            });
        }
        Ok(Self(values))
    }};
}

impl FromRow<'_, SqliteRow> for AnyRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        read_row!(row)
    }
}

impl FromRow<'_, PgRow> for AnyRow {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        read_row!(row)
    }
}

fn bind(query: Query, value: Value, kind: Kind) -> Query {
    match (value, kind) {
        (Value::Nothing, Kind::Number) => query.bind(None::<i64>),
        (Value::Nothing, Kind::Text) => query.bind(None::<String>),
        (Value::Nothing, Kind::Flag) => query.bind(None::<bool>),
        (Value::Number(number), Kind::Flag) => query.bind(number != 0),
        (Value::Number(number), _) => query.bind(number),
        (Value::Flag(flag), Kind::Number) => query.bind(i64::from(flag)),
        (Value::Flag(flag), _) => query.bind(flag),
        (Value::Text(text), _) => query.bind(text),
    }
}

impl Repo {
    /// Writes a whole and consistent copy into a file that is not there yet, while others read and write.
    pub async fn copy_to(&self, path: &Path) -> Result<()> {
        match &self.pool {
            Pool::Sqlite(_) => {
                let path = path.to_string_lossy().into_owned();
                self.query("VACUUM INTO $1").bind(path).execute(&self.pool).await?;
                Ok(())
            }
            Pool::Postgres(_) => {
                let file = Repo::open(path).await?;
                let copied = file.fill_from(self).await;
                file.close().await;
                copied
            }
        }
    }

    /// Takes over what a copy holds. Only into a database without accounts and clusters: nothing is overwritten.
    pub async fn take_over(&self, path: &Path) -> Result<()> {
        self.check_empty().await?;
        let file = Repo::open(path).await?;
        let copied = self.fill_from(&file).await;
        file.close().await;
        copied
    }

    /// Whether a copy may be taken over.
    pub async fn check_empty(&self) -> Result<()> {
        if self.has_users().await? {
            return Err(RepoError::NotEmpty { what: "accounts" });
        }
        if !self.clusters().await?.is_empty() {
            return Err(RepoError::NotEmpty { what: "clusters" });
        }
        Ok(())
    }

    async fn fill_from(&self, source: &Self) -> Result<()> {
        let mut from = source.pool.begin().await?;
        if matches!(from, Tx::Postgres(_)) {
            // All tables as they were in one moment.
            source.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut from).await?;
        }
        let mut to = self.pool.begin().await?;
        for table in TABLES {
            let columns = self.columns(table, &mut to).await?;
            self.copy_table(source, table, &columns, &mut from, &mut to).await?;
        }
        if matches!(to, Tx::Postgres(_)) {
            for table in NUMBERED {
                let sql = format!(
                    "SELECT setval(pg_get_serial_sequence('{table}', 'id'), coalesce(max(id), 0) + 1, false) FROM {table}"
                );
                self.query(AssertSqlSafe(sql)).execute(&mut to).await?;
            }
        }
        to.commit().await?;
        Ok(())
    }

    async fn copy_table(
        &self,
        source: &Self,
        table: &str,
        columns: &[(String, Kind)],
        from: &mut Tx,
        to: &mut Tx,
    ) -> Result<()> {
        let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        let places: Vec<String> = (1..=names.len()).map(|place| format!("${place}")).collect();
        let (names, places) = (names.join(", "), places.join(", "));
        // The first columns are the key, or the rows would not come in one order.
        let order = (1..=columns.len()).map(|place| place.to_string()).collect::<Vec<_>>().join(", ");
        let read = format!("SELECT {names} FROM {table} ORDER BY {order} LIMIT {CHUNK} OFFSET $1");
        let write = format!("INSERT INTO {table} ({names}) VALUES ({places})");
        let mut offset = 0;
        loop {
            let rows: Vec<AnyRow> =
                source.query_as(AssertSqlSafe(read.clone())).bind(offset).fetch_all(&mut *from).await?;
            let read_now = i64::try_from(rows.len()).unwrap_or(CHUNK);
            for AnyRow(values) in rows {
                let query = self.query(AssertSqlSafe(write.clone()));
                let query =
                    values.into_iter().zip(columns).fold(query, |query, (value, (_, kind))| bind(query, value, *kind));
                query.execute(&mut *to).await?;
            }
            offset += read_now;
            if read_now < CHUNK {
                return Ok(());
            }
        }
    }

    /// Columns of a table of this database, with their types.
    async fn columns(&self, table: &str, tx: &mut Tx) -> Result<Vec<(String, Kind)>> {
        let sql = match &self.pool {
            Pool::Sqlite(_) => "SELECT name, type FROM pragma_table_info($1) ORDER BY cid",
            Pool::Postgres(_) => {
                "SELECT column_name::text, data_type::text FROM information_schema.columns
                 WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position"
            }
        };
        let rows: Vec<(String, String)> = self.query_as(sql).bind(table).fetch_all(tx).await?;
        Ok(rows.into_iter().map(|(name, kind)| (name, Kind::of(&kind))).collect())
    }

    /// Tables of this database, for the test that none is forgotten.
    pub async fn tables(&self) -> Result<Vec<String>> {
        let sql = match &self.pool {
            Pool::Sqlite(_) => {
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
            }
            Pool::Postgres(_) => {
                "SELECT table_name::text FROM information_schema.tables WHERE table_schema = current_schema() ORDER BY table_name"
            }
        };
        let rows: Vec<(String,)> = self.query_as(sql).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(|(name,)| name).filter(|name| name != "_sqlx_migrations").collect())
    }

    /// Columns of a table by name, and whether each is a number, a text or a flag (a number in SQLite); for the test that both
    /// databases have the same ones.
    pub async fn columns_of(&self, table: &str) -> Result<Vec<String>> {
        let mut tx = self.pool.begin().await?;
        let mut columns: Vec<String> = self.columns(table, &mut tx).await?.into_iter().map(|(name, _)| name).collect();
        columns.sort();
        Ok(columns)
    }
}
