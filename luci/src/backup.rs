//! `luci backup` and `luci restore`: everything that makes this console this console, in one folder: the database, and the
//! certificates with their keys, of which the nodes have pinned one. Called by the commands; `serve` takes the lock.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

use crate::repo::Repo;
use crate::server::open_repo;
use crate::settings::Store;
use crate::tokens;

/// Name of the database in the state folder and in a backup.
pub const DATABASE: &str = "luci.db";
/// What SQLite keeps beside its file.
const SUFFIXES: [&str; 2] = ["luci.db-wal", "luci.db-shm"];
/// Keys and certificates.
const KEYS: [&str; 4] = ["client.crt", "client.key", "server.crt", "server.key"];
/// Lists what a backup holds, with checksums.
const MANIFEST: &str = "backup.txt";
/// First line of the manifest.
const TITLE: &str = "luci backup";
/// Held by whoever uses the state folder for itself.
const LOCK: &str = "lock";

/// Makes a folder that only its owner may read; one that is there already stays.
pub fn make_folder(folder: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("making the folder {}", folder.display()))
}

/// The state folder is used by one server, or one restore, at a time; free again when this is dropped.
#[derive(Debug)]
pub struct StateLock(#[expect(dead_code, reason = "held for its lock")] File);

impl StateLock {
    /// Takes the lock, or says that somebody else has it.
    pub fn take(state_dir: &Path) -> anyhow::Result<Self> {
        let path = state_dir.join(LOCK);
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.with_context(|| format!("opening {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(_) => bail!("{} is in use by another luci; stop it first (systemctl stop luci)", state_dir.display()),
        }
    }
}

fn checksum(path: &Path) -> anyhow::Result<String> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(tokens::hex(&Sha256::digest(bytes)))
}

/// What to say to whoever named a state folder in which luci never ran.
pub fn no_database(state_dir: &Path) -> String {
    format!("there is no database in {}; name the state folder with --state-dir", state_dir.display())
}

/// Copies a file so that only its owner may read it, and makes sure that it is on the disk.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let bytes = fs::read(from).with_context(|| format!("reading {}", from.display()))?;
    let file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(to);
    let mut file = file.with_context(|| format!("writing {}", to.display()))?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).with_context(|| format!("writing {}", to.display()))
}

/// Writes a backup into a folder that is empty or not there yet. luci may go on serving meanwhile. The database in it is a file of
/// SQLite, also when luci's own is PostgreSQL: every backup can be restored into either.
pub async fn backup(store: impl Into<Store>, target: &Path) -> anyhow::Result<Vec<String>> {
    let store = store.into();
    let state_dir = store.state_dir.as_path();
    if store.database_url.is_none() && !state_dir.join(DATABASE).exists() {
        bail!("{}", no_database(state_dir));
    }
    make_folder(target)?;
    let mut inside = fs::read_dir(target).with_context(|| format!("reading {}", target.display()))?;
    if inside.next().is_some() {
        bail!("{} is not empty; name a folder of its own for each backup", target.display());
    }
    let repo = open_repo(&store).await?;
    let copied = repo.copy_to(&target.join(DATABASE)).await;
    repo.close().await;
    copied.with_context(|| format!("writing {}", target.join(DATABASE).display()))?;
    let mut names = vec![DATABASE.to_owned()];
    for name in KEYS {
        let from = state_dir.join(name);
        // Whoever brings certificates of their own may keep them elsewhere; the pinned one is always here.
        if from.exists() {
            copy(&from, &target.join(name))?;
            names.push(name.to_owned());
        }
    }
    let mut text = format!("{TITLE} {}\n", env!("CARGO_PKG_VERSION"));
    for name in &names {
        text.push_str(&format!("{}  {name}\n", checksum(&target.join(name))?));
    }
    let manifest = target.join(MANIFEST);
    let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&manifest);
    let mut file = file.with_context(|| format!("writing {}", manifest.display()))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all())?;
    Ok(names)
}

/// The files of a backup, each checked against the manifest.
fn checked(source: &Path) -> anyhow::Result<Vec<String>> {
    let manifest = source.join(MANIFEST);
    let text = fs::read_to_string(&manifest)
        .with_context(|| format!("{} is no backup of luci: reading {}", source.display(), manifest.display()))?;
    let mut lines = text.lines();
    if !lines.next().is_some_and(|title| title.starts_with(TITLE)) {
        bail!("{} is no list of a backup of luci", manifest.display());
    }
    let mut names = Vec::new();
    for line in lines {
        let (sum, name) = line.split_once("  ").with_context(|| format!("{}: {line:?}", manifest.display()))?;
        if name != DATABASE && !KEYS.contains(&name) {
            bail!("{} names {name:?}, which is no part of a backup", manifest.display());
        }
        if checksum(&source.join(name))? != sum {
            bail!(
                "{} is damaged: its checksum is not the one in {MANIFEST}; take another backup",
                source.join(name).display()
            );
        }
        names.push(name.to_owned());
    }
    if !names.iter().any(|name| name == DATABASE) {
        bail!("{} holds no database", source.display());
    }
    Ok(names)
}

/// Puts a backup in place. What was there before is kept beside it under the returned folder; a database of PostgreSQL must be
/// empty, because what it holds cannot be set aside.
pub async fn restore(store: impl Into<Store>, source: &Path) -> anyhow::Result<Option<PathBuf>> {
    let store = store.into();
    let state_dir = store.state_dir.as_path();
    let names = checked(source)?;
    make_folder(state_dir)?;
    let _lock = StateLock::take(state_dir)?;
    let elsewhere = match &store.database_url {
        Some(_) => {
            let repo = open_repo(&store).await?;
            repo.check_empty().await?;
            Some(repo)
        }
        None => None,
    };
    let before = set_aside(state_dir)?;
    for name in &names {
        copy(&source.join(name), &state_dir.join(name))?;
    }
    if let Some(repo) = elsewhere {
        let file = state_dir.join(DATABASE);
        let taken = repo.take_over(&file).await.context("filling the database that LUCI_DATABASE_URL names");
        repo.close().await;
        remove_file_database(state_dir)?;
        return taken.map(|()| before);
    }
    // Opening it brings the schema of an older release up to date, and shows now, not later, that it can be used.
    let database = state_dir.join(DATABASE);
    let repo = Repo::open(&database).await.with_context(|| format!("opening {}", database.display()))?;
    repo.end_all_sessions().await?;
    repo.close().await;
    Ok(before)
}

/// Its rows are in another database now; two that differ must not both look like the console's.
fn remove_file_database(state_dir: &Path) -> anyhow::Result<()> {
    for name in std::iter::once(DATABASE).chain(SUFFIXES) {
        let path = state_dir.join(name);
        if path.exists() {
            fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

/// Moves the present state out of the way.
fn set_aside(state_dir: &Path) -> anyhow::Result<Option<PathBuf>> {
    let present: Vec<&str> =
        std::iter::once(DATABASE).chain(SUFFIXES).chain(KEYS).filter(|name| state_dir.join(name).exists()).collect();
    if present.is_empty() {
        return Ok(None);
    }
    let aside = state_dir.join(format!("before-restore-{}", crate::clock::now_ms()));
    make_folder(&aside)?;
    for name in present {
        let (from, to) = (state_dir.join(name), aside.join(name));
        fs::rename(&from, &to).with_context(|| format!("moving {} to {}", from.display(), to.display()))?;
    }
    Ok(Some(aside))
}
