//! Batches on disk, so that they outlive a restart of ricci and of the node: what was asked, by whom, and how far it is. Each is
//! written before its first step and at every step; steps that had not begun are carried out by the next ricci. A step
//! that was under way is not: nobody can know how far it came.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch;
use super::xml::{self, Element};
use crate::agent::files::{self, FileError};

/// Configurations in it hold passwords.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// The file with the id that was given last, so that no two batches ever have the same.
const LAST_ID: &str = "last_id";

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    folder: Arc<Path>,
}

/// One batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Queued {
    pub(super) origin: String,
    pub(super) batch: Element,
    pub(super) report: Element,
}

impl Queue {
    pub(super) fn at(state_dir: &Path) -> Self {
        Self { folder: state_dir.join("queue").into() }
    }

    fn path(&self, id: u64) -> PathBuf {
        self.folder.join(format!("{id}.xml"))
    }

    /// All that is there, with the id that was given last. A file that cannot be read is told of and left alone.
    pub(super) fn load(&self) -> (u64, Vec<(u64, Queued)>) {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(id) = name.strip_suffix(".xml").and_then(|id| id.parse().ok()) else { continue };
            match files::read(&entry.path()).ok().flatten().and_then(|bytes| Queued::read(&bytes)) {
                Some(queued) => found.push((id, queued)),
                None => tracing::warn!(file = name, "a batch in the queue cannot be read and is passed over"),
            }
        }
        found.sort_by_key(|(id, _)| *id);
        let kept = files::read(&self.folder.join(LAST_ID)).ok().flatten();
        let kept = kept.and_then(|bytes| String::from_utf8(bytes).ok()?.trim().parse().ok()).unwrap_or(0);
        (kept.max(found.last().map_or(0, |(id, _)| *id)), found)
    }

    /// Takes in a new batch.
    pub(super) async fn add(&self, id: u64, queued: &Queued) -> Result<(), FileError> {
        let (folder, path) = (Arc::clone(&self.folder), self.folder.join(LAST_ID));
        files::off_loop(move || {
            files::create_folder(&folder, FOLDER_MODE)?;
            files::write_atomic(&path, format!("{id}\n").as_bytes(), FILE_MODE)
        })
        .await?;
        self.store(id, queued).await
    }

    /// Keeps how far a batch is.
    pub(super) async fn store(&self, id: u64, queued: &Queued) -> Result<(), FileError> {
        let (path, text) = (self.path(id), queued.render());
        files::off_loop(move || files::write_atomic(&path, text.as_bytes(), FILE_MODE)).await
    }

    /// Nobody will ask for it again.
    pub(super) async fn forget(&self, id: u64) {
        let path = self.path(id);
        if let Err(error) = files::off_loop(move || files::remove(&path)).await {
            tracing::warn!(error = shared::chain(&error), "a batch that was read stays in the queue");
        }
    }
}

impl Queued {
    fn render(&self) -> String {
        let batch = Element { children: Vec::new(), ..self.batch.clone() };
        let kept = Element::new("queued").with("origin", &self.origin);
        kept.holding(batch).holding(Element::new("report").holding(self.report.clone())).render()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let kept = xml::parse(bytes)?;
        let batch = kept.child("batch")?.clone();
        let report = kept.child("report")?.child("batch")?;
        // What modules answered is shown as it was written.
        let modules = report.children.iter().map(|module| Element { children: Vec::new(), ..module.clone() });
        let report = Element { children: modules.collect(), inner: String::new(), ..report.clone() };
        let mut queued = Self { origin: kept.attribute("origin")?.to_owned(), batch, report };
        batch::fail_interrupted(&queued.batch, &mut queued.report);
        Some(queued)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: &str = "<batch><module name=\"cluster\"><request API_version=\"1.0\" sequence=\"7\"><function_call \
                         name=\"start_node\"/></request></module><module name=\"reboot\"><request API_version=\"1.0\">\
                         <function_call name=\"reboot_now\"/></request></module></batch>";

    fn queued() -> Queued {
        let batch = xml::parse(BATCH.as_bytes()).unwrap();
        let report = batch::scheduled(&batch);
        Queued { origin: "legacy client 10.0.0.1".into(), batch, report }
    }

    #[tokio::test]
    async fn a_batch_comes_back_as_it_was_kept_and_its_id_is_never_given_again() {
        let folder = tempfile::tempdir().unwrap();
        let queue = Queue::at(folder.path());
        assert_eq!(queue.load(), (0, Vec::new()));
        let mut kept = queued();
        kept.report.children[0] = Element {
            inner: "<response><var name=\"a\" value=\"&lt;\"><b/> c</var></response>".into(),
            ..Element::new("module").with("name", "cluster").with("status", "0")
        };
        queue.add(7, &kept).await.unwrap();
        assert_eq!(queue.load(), (7, vec![(7, kept)]));
        queue.forget(7).await;
        assert_eq!(queue.load(), (7, Vec::new()));
    }

    #[tokio::test]
    async fn a_step_that_was_under_way_has_failed_and_those_behind_it_never_run() {
        let folder = tempfile::tempdir().unwrap();
        let queue = Queue::at(folder.path());
        let mut kept = queued();
        kept.report.attributes[0].1 = "2".into();
        kept.report.children[0].attributes[1].1 = "2".into();
        queue.add(1, &kept).await.unwrap();
        let (_, found) = queue.load();
        let report = &found[0].1.report;
        let statuses: Vec<_> = report.children.iter().map(|module| module.attribute("status").unwrap()).collect();
        assert_eq!((report.attribute("status"), &statuses[..]), (Some("4"), &["4", "5"][..]));
        let told = report.render();
        assert!(told.contains("function_name=\"start_node\"") && told.contains("ricci was restarted"), "{told}");
    }

    #[test]
    fn a_damaged_file_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("queue")).unwrap();
        std::fs::write(folder.path().join("queue/3.xml"), "<queued").unwrap();
        assert_eq!(Queue::at(folder.path()).load(), (0, Vec::new()));
    }
}
