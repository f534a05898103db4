//! The node's secrets: one file each, mode 0600, in a folder of mode 0700 beside cluster.conf. Used by `agent` (stores
//! what a manager sends), `rgmanager` (resolves references just before an agent runs) and `cli`.
//!
//! A name has one value for ever: another password gets another name, so that older versions of the configuration stay usable and
//! two nodes cannot disagree. No value is ever logged or part of an error.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use shared::conf::sealed::{self, Found, is_name, is_value, referred};
use shared::conf::{Document, Finding, Severity};

/// Why a secret cannot be had or kept.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the secret {name} is not on this node ({}); luci hands it on from a node that has it, or put it there as one line, mode 0600", path.display())]
    Missing { name: String, path: PathBuf },
    #[error("{} does not hold a secret: one line of at most {} bytes", path.display(), sealed::VALUE_BYTES_MAX)]
    NoValue { path: PathBuf },
    #[error("{name:?} cannot be the name of a secret")]
    Name { name: String },
    #[error("the secret {name} has another value on this node; a new value gets a new name")]
    Other { name: String },
    #[error("cannot {doing} {}", path.display())]
    File {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The folder.
#[derive(Debug, Clone)]
pub struct Secrets {
    folder: PathBuf,
}

impl Default for Secrets {
    fn default() -> Self {
        Self::beside(Path::new("/etc/cluster/cluster.conf"))
    }
}

impl Secrets {
    /// In a folder of their own beside this cluster.conf.
    pub fn beside(conf: &Path) -> Self {
        Self { folder: conf.parent().unwrap_or(Path::new("/")).join("secrets") }
    }

    /// Where they lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, name: &str) -> Result<PathBuf, SecretError> {
        if is_name(name) { Ok(self.folder.join(name)) } else { Err(SecretError::Name { name: name.to_owned() }) }
    }

    /// The value of a secret. A line end at its end does not belong to it: people write such files with `echo`.
    pub fn read(&self, name: &str) -> Result<String, SecretError> {
        let path = self.path(name)?;
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SecretError::Missing { name: name.to_owned(), path });
            }
            Err(source) => return Err(SecretError::File { doing: "read", path, source }),
        };
        let value = String::from_utf8(bytes).unwrap_or_default();
        let value = value.strip_suffix('\n').unwrap_or(&value);
        if is_value(value) { Ok(value.to_owned()) } else { Err(SecretError::NoValue { path }) }
    }

    /// Whether there is such a secret.
    pub fn has(&self, name: &str) -> bool {
        self.read(name).is_ok()
    }

    /// Keeps a secret; the same one again is fine. Whether it is new.
    pub fn write(&self, name: &str, value: &str) -> Result<bool, SecretError> {
        let path = self.path(name)?;
        if !is_value(value) {
            return Err(SecretError::NoValue { path });
        }
        match self.read(name) {
            Ok(present) if present == value => return Ok(false),
            Ok(_) => return Err(SecretError::Other { name: name.to_owned() }),
            // A file that holds no secret may be replaced by one.
            Err(SecretError::Missing { .. } | SecretError::NoValue { .. }) => {}
            Err(error) => return Err(error),
        }
        let failed = |doing| move |source| SecretError::File { doing, path: path.clone(), source };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(failed.clone()("make the folder of"))?;
        self.replace(name, value).map_err(failed("write"))?;
        Ok(true)
    }

    /// In one step that survives a power cut; the file never has another mode.
    fn replace(&self, name: &str, value: &str) -> io::Result<()> {
        let unfinished = self.folder.join(format!(".{}", uuid::Uuid::new_v4().simple()));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
            file.write_all(value.as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&unfinished, self.folder.join(name))?;
            File::open(&self.folder)?.sync_all()
        })();
        if written.is_err() {
            // The first error is the one that counts.
            let _ = fs::remove_file(&unfinished);
        }
        written
    }

    /// Forgets a secret; whether there was one.
    pub fn remove(&self, name: &str) -> Result<bool, SecretError> {
        let path = self.path(name)?;
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(SecretError::File { doing: "remove", path, source }),
        }
    }

    /// The names of all secrets here, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| is_name(name)).collect();
        names.sort();
        names
    }

    /// The references of a configuration that this node cannot resolve.
    pub fn missing(&self, document: &Document) -> Vec<Found> {
        let references = sealed::references(document).into_iter();
        references.filter(|found| referred(&found.value).is_some_and(|name| !self.has(name))).collect()
    }

    /// The arguments of an agent with every reference replaced by its secret, and those secrets, for masking what
    /// the agent prints.
    pub fn resolve(&self, arguments: &[(String, String)]) -> Result<Resolved, SecretError> {
        let mut resolved = Resolved::default();
        for (name, value) in arguments {
            let value = match referred(value) {
                Some(secret) => {
                    let value = self.read(secret)?;
                    resolved.secrets.push(value.clone());
                    value
                }
                None => value.clone(),
            };
            resolved.arguments.push((name.clone(), value));
        }
        Ok(resolved)
    }
}

/// What is to be said of the references of a configuration: those that this node cannot resolve. Fencing and starts that need
/// one fail here, and go on from another node.
pub fn findings(secrets: &Secrets, document: &Document) -> Vec<Finding> {
    let finding = |found: Found| {
        let name = referred(&found.value).unwrap_or_default();
        Finding {
            rule: "secret-missing".into(),
            severity: Severity::Warning,
            text: format!("the secret {name} is not on this node"),
            hint: "luci hands it on from a node that has it; or enter the password again, which makes a new secret"
                .into(),
            place: found.place,
        }
    };
    secrets.missing(document).into_iter().map(finding).collect()
}

/// Arguments as an agent gets them.
#[derive(Clone, Default)]
pub struct Resolved {
    pub arguments: Vec<(String, String)>,
    /// The secrets that references stood for.
    pub secrets: Vec<String>,
}

impl std::fmt::Debug for Resolved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolved(secrets not shown)")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn pairs(arguments: &[(&str, &str)]) -> Vec<(String, String)> {
        arguments.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_secret_is_kept_for_root_alone_and_has_one_value_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::beside(&folder.path().join("cluster.conf"));
        assert!(secrets.write("bmc1.passwd.1", "geheim").unwrap());
        assert!(!secrets.write("bmc1.passwd.1", "geheim").unwrap());
        assert!(matches!(secrets.write("bmc1.passwd.1", "anders"), Err(SecretError::Other { .. })));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(secrets.folder()), 0o700);
        assert_eq!(mode(&secrets.folder().join("bmc1.passwd.1")), 0o600);
        assert_eq!(
            (secrets.names(), secrets.read("bmc1.passwd.1").unwrap()),
            (vec!["bmc1.passwd.1".into()], "geheim".into())
        );
        assert!(secrets.remove("bmc1.passwd.1").unwrap() && !secrets.remove("bmc1.passwd.1").unwrap());
    }

    #[test]
    fn references_become_their_secrets_and_a_missing_one_is_named_without_its_value() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::beside(&folder.path().join("cluster.conf"));
        secrets.write("x", "geheim").unwrap();
        let resolved = secrets.resolve(&pairs(&[("ip", "10.0.0.1"), ("passwd", "secret:x")])).unwrap();
        assert_eq!(resolved.arguments, pairs(&[("ip", "10.0.0.1"), ("passwd", "geheim")]));
        assert_eq!(resolved.secrets, ["geheim"]);
        assert!(!format!("{resolved:?}").contains("geheim"));
        let error = secrets.resolve(&pairs(&[("passwd", "secret:y")])).unwrap_err().to_string();
        assert!(error.contains("secret y is not on this node") && error.contains("secrets/y"), "{error}");
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::beside(&folder.path().join("cluster.conf"));
        for name in ["../cluster.conf", "..", "", "a/b"] {
            assert!(matches!(secrets.read(name), Err(SecretError::Name { .. })), "{name}");
            assert!(matches!(secrets.write(name, "x"), Err(SecretError::Name { .. })), "{name}");
        }
    }
}
