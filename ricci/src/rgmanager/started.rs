//! What this node has started since it booted, kept for the daemon that comes after a killed one.
//!
//! Written by the driver before the start it tells of, read once at the start of the daemon. One file per service below
//! /run: a reboot, which ends everything that was started, ends the files too; so nothing is synced to a disk.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::conf::model::Service;
use shared::ids::ServiceName;

use super::cgroup::file_name;

/// Parameters of resources may hold passwords.
const MODE: u32 = 0o600;
/// Ends the name of a file that is being written.
const UNFINISHED: &str = ".unfinished";

#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    service: std::borrow::Cow<'a, ServiceName>,
    trees: Vec<Arc<Service>>,
}

/// The files.
#[derive(Debug, Clone)]
pub struct Started {
    directory: PathBuf,
}

impl Started {
    /// Keeps them in `directory`, which is made when it is needed.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// What may run of a service; no trees: nothing does. The caller tells an error; without the file, a daemon that is killed
    /// later finds only what cluster.conf names then.
    pub fn keep(&self, service: &ServiceName, trees: Vec<Arc<Service>>) -> std::io::Result<()> {
        let path = self.path(service);
        if trees.is_empty() {
            return match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let content = serde_json::to_vec(&Kept { service: std::borrow::Cow::Borrowed(service), trees })?;
        std::fs::create_dir_all(&self.directory)?;
        let mut unfinished = path.clone().into_os_string();
        unfinished.push(UNFINISHED);
        std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(MODE)
            .open(&unfinished)?
            .write_all(&content)?;
        std::fs::rename(&unfinished, path)
    }

    /// All that is kept. What cannot be read is told and left out: what cluster.conf names is looked for all the same.
    pub fn read(&self) -> BTreeMap<ServiceName, Vec<Service>> {
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let files = entries.map(|entry| entry.path()).filter(|path| {
            // One that was being written tells of a start that never began.
            !path.to_string_lossy().ends_with(UNFINISHED)
        });
        files.filter_map(|path| read(&path)).collect()
    }

    fn path(&self, service: &ServiceName) -> PathBuf {
        self.directory.join(file_name(service.as_str()))
    }
}

fn read(path: &Path) -> Option<(ServiceName, Vec<Service>)> {
    let content = std::fs::read(path).map_err(|error| error.to_string());
    let kept = content.and_then(|content| serde_json::from_slice::<Kept<'_>>(&content).map_err(|e| e.to_string()));
    match kept {
        Ok(kept) => {
            let trees = kept.trees.into_iter().map(Arc::unwrap_or_clone).collect();
            Some((kept.service.into_owned(), trees))
        }
        Err(error) => {
            tracing::error!(
                "{} cannot be read ({error}); what the daemon before this one started is looked for as cluster.conf names it",
                path.display()
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> Service {
        let text = format!(
            "<cluster name='c' config_version='1'><clusternodes><clusternode name='n1' nodeid='1'/></clusternodes><rm>\
             <service name='{name}'><script name='a' file='/etc/init.d/a'><ip address='10.0.0.1'/></script></service></rm></cluster>"
        );
        shared::conf::load(&text).conf.unwrap().services.remove(0)
    }

    #[test]
    fn what_is_kept_is_read_again_until_it_is_dropped() {
        let root = tempfile::tempdir().unwrap();
        let started = Started::new(root.path().join("started"));
        assert!(started.read().is_empty());
        let (web, odd) = (service("web"), service("../a b"));
        for service in [&web, &odd] {
            started.keep(&service.name, vec![Arc::new(service.clone()), Arc::new(service.clone())]).unwrap();
        }
        started.keep(&odd.name, vec![Arc::new(odd.clone())]).unwrap();
        let expected =
            BTreeMap::from([(web.name.clone(), vec![web.clone(), web.clone()]), (odd.name.clone(), vec![odd])]);
        assert_eq!(started.read(), expected);
        started.keep(&web.name, Vec::new()).unwrap();
        started.keep(&web.name, Vec::new()).unwrap();
        assert_eq!(started.read().len(), 1);
    }

    #[test]
    fn a_damaged_file_does_not_hide_the_others() {
        let root = tempfile::tempdir().unwrap();
        let started = Started::new(root.path().to_owned());
        let web = service("web");
        started.keep(&web.name, vec![Arc::new(web.clone())]).unwrap();
        std::fs::write(root.path().join("service:mail"), "{").unwrap();
        std::fs::write(root.path().join("service:db.unfinished"), "{").unwrap();
        assert_eq!(started.read(), BTreeMap::from([(web.name.clone(), vec![web])]));
    }
}
