//! A PostgreSQL of the test's own: a folder, a socket in it, no port, and nothing left behind.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;

/// A running server; it ends when dropped.
pub(crate) struct Postgres {
    dir: TempDir,
    programs: PathBuf,
}

impl Postgres {
    /// Makes a server and starts it. Debian's package `postgresql` must be installed (`cargo xtask setup`).
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().expect("folder");
        // PostgreSQL refuses to run as root; its own user must reach the folder.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).expect("permissions");
        let server = Self { dir, programs: newest_programs() };
        let data = server.data();
        server
            .run("initdb", &["-D", &data, "-U", "luci", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]);
        let socket = server.dir.path().display().to_string();
        let options = format!("-c listen_addresses='' -c fsync=off -k {socket}");
        let log = server.dir.path().join("log").display().to_string();
        server.run("pg_ctl", &["-D", &data, "-w", "-l", &log, "-o", &options, "start"]);
        server
    }

    fn data(&self) -> String {
        self.dir.path().join("data").display().to_string()
    }

    fn run(&self, program: &str, words: &[&str]) {
        let path = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        // pg_ctl leaves the server behind, which would keep a pipe of its own open.
        let status = command.args(words).current_dir("/").stdout(Stdio::null()).stderr(Stdio::null()).status();
        let status = status.expect("a program of PostgreSQL starts");
        assert!(status.success(), "{program} ended with {status}; its log is {}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Makes an empty database; its address.
    pub(crate) async fn database(&self, name: &'static str) -> String {
        let mut connection = PgConnection::connect(&self.url("postgres")).await.expect("connection");
        let statement = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::query(statement).execute(&mut connection).await.expect("database");
        self.url(name)
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://luci@localhost/{database}?host={}", self.dir.path().display())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.data();
        if Path::new(&data).join("postmaster.pid").exists() {
            self.run("pg_ctl", &["-D", &data, "-w", "-m", "immediate", "stop"]);
        }
    }
}

fn is_root() -> bool {
    let me = Command::new("id").arg("-u").output().expect("id");
    me.stdout == b"0\n"
}

/// Debian keeps the programs of each release in a folder of its own.
fn newest_programs() -> PathBuf {
    let releases = std::fs::read_dir("/usr/lib/postgresql").expect("Debian's package postgresql is installed");
    let number = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let newest = releases.flatten().map(|entry| entry.path()).max_by_key(number);
    newest.expect("a release of PostgreSQL").join("bin")
}
