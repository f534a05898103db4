//! `~/.ccs`: the certificate with which `ccs` shows itself to ricci, the certificates of the nodes it has met, and
//! configurations that are not complete yet. Everything in it is readable by its owner alone.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use shared::ids::ConfDigest;
use time::{Duration, OffsetDateTime};

use super::fault::Fault;

/// Nodes pin it, so it must outlive them.
const CERTIFICATE_DAYS: i64 = 3650;

/// Certificate and key of this user.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// A configuration that is being built step by step and that a cluster could not use yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Draft {
    /// What was in force when it was begun; `None`: nothing.
    pub(super) base: Option<ConfDigest>,
    pub(super) text: String,
}

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Home {
    folder: PathBuf,
}

impl Home {
    pub(super) fn open() -> Result<Self, Fault> {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
        let home = home.ok_or_else(|| Fault::new("HOME is not set, so there is no place for ~/.ccs"))?;
        let folder = Path::new(&home).join(".ccs");
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed("cannot make", &folder, &error)),
            _ => Ok(Self { folder }),
        }
    }

    /// Where it is kept what the fence agents of this node say of themselves.
    pub(super) fn fence_agents_path(&self) -> PathBuf {
        self.folder.join("fence_agents.json")
    }

    /// Reads the certificate, or makes one at the first use.
    pub(super) fn identity(&self) -> Result<Identity, Fault> {
        let (certificate_path, key_path) = (self.folder.join("cacert.pem"), self.folder.join("privkey.pem"));
        match (certificate_path.exists(), key_path.exists()) {
            (true, true) => {}
            // A key alone is a first use that was interrupted: no node has seen the certificate.
            (false, _) => {
                let (certificate, key) =
                    make().map_err(|error| Fault::new(format!("cannot make a certificate: {error}")))?;
                write(&key_path, key.as_bytes(), 0o600)?;
                write(&certificate_path, certificate.as_bytes(), 0o600)?;
            }
            (true, false) => {
                return Err(Fault::new(format!(
                    "{} is missing; restore it, or remove {} and give every node its password again",
                    key_path.display(),
                    certificate_path.display()
                )));
            }
        }
        let unreadable = |path: &Path, error: rustls::pki_types::pem::Error| {
            Fault::new(format!("cannot use {}: {error}", path.display()))
        };
        Ok(Identity {
            certificate: CertificateDer::from_pem_file(&certificate_path)
                .map_err(|error| unreadable(&certificate_path, error))?,
            key: PrivateKeyDer::from_pem_file(&key_path).map_err(|error| unreadable(&key_path, error))?,
        })
    }

    /// Where the fingerprints of the nodes stand, one `HOST:PORT FINGERPRINT` a line.
    pub(super) fn known_nodes(&self) -> PathBuf {
        self.folder.join("known_nodes")
    }

    /// The fingerprint of a node that was met before.
    pub(super) fn fingerprint(&self, address: &str) -> Result<Option<String>, Fault> {
        let text = read(&self.known_nodes())?.unwrap_or_default();
        let mut known = text.lines().filter_map(|line| line.split_once(' '));
        Ok(known.find(|(known, _)| *known == address).map(|(_, fingerprint)| fingerprint.trim().to_owned()))
    }

    /// Remembers a node.
    pub(super) fn remember(&self, address: &str, fingerprint: &str) -> Result<(), Fault> {
        let path = self.known_nodes();
        let mut text = read(&path)?.unwrap_or_default();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&format!("{address} {fingerprint}\n"));
        write(&path, text.as_bytes(), 0o600)
    }

    /// Where the draft for a host lies.
    pub(super) fn draft_path(&self, of: &str) -> PathBuf {
        self.folder.join(format!("draft-{}.json", file_name(of)))
    }

    pub(super) fn draft(&self, of: &str) -> Result<Option<Draft>, Fault> {
        let path = self.draft_path(of);
        let Some(text) = read(&path)? else { return Ok(None) };
        let draft = serde_json::from_str(&text);
        draft.map(Some).map_err(|error| Fault::new(format!("{} is damaged ({error}); remove it", path.display())))
    }

    pub(super) fn keep_draft(&self, of: &str, draft: &Draft) -> Result<(), Fault> {
        let text = serde_json::to_string(draft).map_err(|error| Fault::new(error.to_string()))?;
        write(&self.draft_path(of), text.as_bytes(), 0o600)
    }

    pub(super) fn drop_draft(&self, of: &str) -> Result<(), Fault> {
        let path = self.draft_path(of);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("cannot remove", &path, &error)),
            _ => Ok(()),
        }
    }

    /// Keeps a configuration under its version and the time; where.
    pub(super) fn back_up(&self, text: &str) -> Result<PathBuf, Fault> {
        let folder = self.folder.join("backup");
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("cannot make", &folder, &error));
            }
            _ => {}
        }
        let head = shared::conf::load(text).conf.map(|conf| (conf.name, conf.version.0)).unwrap_or_default();
        let cluster: String = file_name(&head.0);
        let now = OffsetDateTime::now_utc();
        let stamp = format!(
            "{:04}{:02}{:02}-{:02}{:02}{:02}",
            now.year(),
            u8::from(now.month()),
            now.day(),
            now.hour(),
            now.minute(),
            now.second()
        );
        let path = folder.join(format!("{cluster}-{}-{stamp}.conf", head.1));
        write(&path, text.as_bytes(), 0o600)?;
        Ok(path)
    }
}

/// What may stand in the name of a file.
fn file_name(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' }).collect()
}

fn make() -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::new(vec![])?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, format!("ccs {}", uuid::Uuid::new_v4().simple()));
    params.distinguished_name = name;
    // A day back, for nodes whose clock is behind.
    params.not_before = OffsetDateTime::now_utc() - Duration::days(1);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(CERTIFICATE_DAYS);
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Fault {
    Fault::new(format!("{what} {}: {error}", path.display()))
}

fn read(path: &Path) -> Result<Option<String>, Fault> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("cannot read", path, &error)),
    }
}

/// Writes a file whole or not at all. One that is there keeps its mode; a new one gets `mode`.
pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Fault> {
    // A link stays a link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let permissions = fs::metadata(&path).ok().map(|known| known.permissions());
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = (|| {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        if let Some(permissions) = permissions {
            file.set_permissions(permissions)?;
        }
        file.sync_all()?;
        fs::rename(&temporary, &path)
    })();
    written.map_err(|error| {
        // What went wrong counts, not whether the rest of it could be tidied.
        let _ = fs::remove_file(&temporary);
        failed("cannot write", &path, &error)
    })
}
