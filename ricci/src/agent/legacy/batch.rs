//! Batches (rhcs.md §7.3): calls of functions of modules, strictly one after another; the first that fails ends the
//! batch. The report has the shape of the request and is brought up to date while it runs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shared::api::HostOperationKind;

use super::queue::{Queue, Queued};
use super::xml::Element;
use super::{VERSION, cluster, service};
use crate::agent::app::App;
use crate::agent::problem::ApiError;
use crate::agent::socket::SocketError;

/// What `list_modules` names.
pub(super) const MODULES: &[&str] = &["cluster", "log", "reboot", "service"];

/// Between two looks whether an operation of the node has ended; it tells nobody.
const OPERATION_POLL: Duration = Duration::from_millis(100);

/// The numbers of `status`.
const DONE: &str = "0";
const SCHEDULED: &str = "1";
const IN_PROGRESS: &str = "2";
const MODULE_FAILED: &str = "3";
const REQUEST_FAILED: &str = "4";
const NEVER_RUN: &str = "5";

/// A function that did not do what it was asked to.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) code: i32,
    pub(super) text: String,
}

impl Failed {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { code: -1, text: text.into() }
    }
}

impl From<ApiError> for Failed {
    fn from(error: ApiError) -> Self {
        Self::new(error.told())
    }
}

impl From<SocketError> for Failed {
    fn from(error: SocketError) -> Self {
        Self::new(shared::chain(&error))
    }
}

/// What a function gives back besides `success`.
pub(super) type Called = Result<Vec<Element>, Failed>;

/// The arguments of a call.
pub(super) struct Arguments<'a>(&'a Element);

impl<'a> Arguments<'a> {
    pub(super) fn var(&self, name: &str) -> Option<&'a Element> {
        self.0.children.iter().find(|child| child.name == "var" && child.attribute("name") == Some(name))
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.var(name).and_then(|var| var.attribute("value")).filter(|value| !value.is_empty())
    }

    pub(super) fn needed(&self, name: &str) -> Result<&'a str, Failed> {
        self.text(name).ok_or_else(|| Failed::new(format!("the variable '{name}' is missing")))
    }

    pub(super) fn is_set(&self, name: &str, otherwise: bool) -> bool {
        self.text(name).map_or(otherwise, |value| value == "true")
    }
}

/// A variable of an answer.
pub(super) fn var(name: &str, kind: &str, value: impl Into<String>) -> Element {
    Element::new("var").with("mutable", "false").with("name", name).with("type", kind).with("value", value)
}

/// A variable that holds elements.
pub(super) fn holder(name: &str, kind: &str, children: Vec<Element>) -> Element {
    let holder = Element::new("var").with("mutable", "false").with("name", name).with("type", kind);
    Element { children, ..holder }
}

/// The report before anything has run.
pub(super) fn scheduled(batch: &Element) -> Element {
    let module = |module: &Element| {
        let name = module.attribute("name").unwrap_or_default();
        Element::new("module").with("name", name).with("status", SCHEDULED)
    };
    Element {
        children: batch.children.iter().filter(|child| child.name == "module").map(module).collect(),
        ..Element::new("batch").with("status", SCHEDULED)
    }
}

pub(super) fn has_ended(report: &Element) -> bool {
    !matches!(report.attribute("status"), Some(SCHEDULED | IN_PROGRESS))
}

/// A step that was under way when ricci ended has failed, and those behind it never run.
pub(super) fn fail_interrupted(batch: &Element, report: &mut Element) {
    let under_way = |module: &Element| module.attribute("status") == Some(IN_PROGRESS);
    let Some(number) = report.children.iter().position(under_way) else { return };
    let request = batch.children.iter().filter(|child| child.name == "module").nth(number);
    let request = request.and_then(|module| module.child("request"));
    let function = request.and_then(|request| request.child("function_call")).and_then(|call| call.attribute("name"));
    let why = Failed::new(
        "ricci was restarted while this was under way; see whether it was done, and ask again if it is still wanted",
    );
    let told = Element::new("function_response").with("function_name", function.unwrap_or_default());
    let response = Element::new("response")
        .with("API_version", VERSION)
        .with("sequence", request.and_then(|request| request.attribute("sequence")).unwrap_or_default())
        .holding(Element { children: failure(why), ..told });
    report.children[number].inner.clear();
    report.children[number].children = vec![response];
    set_status(&mut report.children[number], REQUEST_FAILED);
    report.children[number + 1..].iter_mut().for_each(|module| set_status(module, NEVER_RUN));
    set_status(report, REQUEST_FAILED);
}

/// What a call that failed tells.
fn failure(Failed { code, text }: Failed) -> Vec<Element> {
    vec![
        var("success", "boolean", "false"),
        var("error_code", "int", code.to_string()),
        var("error_description", "string", text),
    ]
}

/// Where a batch is kept while it runs.
pub(super) struct Progress {
    pub(super) id: u64,
    pub(super) queue: Queue,
    pub(super) origin: String,
    pub(super) batch: Element,
    /// Never locked while a step is under way.
    pub(super) report: Arc<Mutex<Element>>,
}

impl Progress {
    /// On disk first: what was told must not be otherwise after a restart, and a report that was read must not come back.
    async fn change(&self, change: impl FnOnce(&mut Element)) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner).clone();
        change(&mut report);
        let queued = Queued { origin: self.origin.clone(), batch: self.batch.clone(), report };
        if let Err(error) = self.queue.store(self.id, &queued).await {
            tracing::warn!(id = self.id, error = shared::chain(&error), "a batch is not kept for a restart of ricci");
        }
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = queued.report;
    }

    fn status_of(&self, number: usize) -> Option<String> {
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.children.get(number).and_then(|module| module.attribute("status")).map(str::to_owned)
    }
}

/// Runs the steps that have not run yet.
pub(super) async fn run(app: &Arc<App>, progress: &Progress) {
    progress.change(|report| set_status(report, IN_PROGRESS)).await;
    let mut ended = DONE;
    for (number, module) in progress.batch.children.iter().filter(|child| child.name == "module").enumerate() {
        if progress.status_of(number).as_deref() == Some(DONE) {
            continue;
        }
        if ended != DONE {
            progress.change(|report| set_status(&mut report.children[number], NEVER_RUN)).await;
            continue;
        }
        progress.change(|report| set_status(&mut report.children[number], IN_PROGRESS)).await;
        let (status, response) = step(app, &progress.origin, module).await;
        ended = status;
        progress
            .change(|report| {
                set_status(&mut report.children[number], status);
                report.children[number].children = vec![response];
            })
            .await;
        let is_last = number + 1 == progress.report.lock().unwrap_or_else(PoisonError::into_inner).children.len();
        if status == DONE && reboots(module) && !is_last {
            // What follows a reboot is for the ricci after it.
            return std::future::pending().await;
        }
    }
    progress.change(|report| set_status(report, ended)).await;
}

fn reboots(module: &Element) -> bool {
    let call = module.child("request").and_then(|request| request.child("function_call"));
    module.attribute("name") == Some("reboot") && call.and_then(|call| call.attribute("name")) == Some("reboot_now")
}

fn set_status(element: &mut Element, status: &str) {
    if let Some((_, value)) = element.attributes.iter_mut().find(|(name, _)| name == "status") {
        status.clone_into(value);
    }
}

/// One call; its status and response.
async fn step(app: &Arc<App>, origin: &str, module: &Element) -> (&'static str, Element) {
    let Some(request) = module.child("request") else {
        return (MODULE_FAILED, Element::new("internal_error"));
    };
    let respond = |content: Element| {
        let sequence = request.attribute("sequence").unwrap_or_default();
        Element::new("response").with("API_version", VERSION).with("sequence", sequence).holding(content)
    };
    let name = module.attribute("name").unwrap_or_default();
    let known = MODULES.contains(&name);
    if !known || request.attribute("API_version") != Some(VERSION) {
        let description = if known { "unsupported API version".to_owned() } else { format!("no module '{name}'") };
        return (MODULE_FAILED, respond(Element::new("API_error").with("description", description).holding(apis())));
    }
    let Some(call) = request.child("function_call") else {
        return (MODULE_FAILED, respond(Element::new("internal_error")));
    };
    let function = call.attribute("name").unwrap_or_default();
    let called = call_function(app, origin, name, function, &Arguments(call)).await;
    let mut told = Element::new("function_response").with("function_name", function);
    match called {
        Ok(vars) => {
            told.children.push(var("success", "boolean", "true"));
            told.children.extend(vars);
            (DONE, respond(told))
        }
        Err(failed) => {
            tracing::info!(origin, module = name, function, why = failed.text, "call of the original protocol failed");
            told.children.extend(failure(failed));
            (REQUEST_FAILED, respond(told))
        }
    }
}

fn apis() -> Element {
    holder("APIs", "list_str", vec![Element::new("listentry").with("value", VERSION)])
}

async fn call_function(app: &Arc<App>, origin: &str, module: &str, function: &str, with: &Arguments<'_>) -> Called {
    match (module, function) {
        (_, "APIs") => Ok(vec![apis()]),
        ("cluster", _) => cluster::call(app, origin, function, with).await,
        ("service", _) => service::call(app, origin, function, with).await,
        ("reboot", "reboot_now") => {
            app.operations.begin(app, HostOperationKind::Reboot, false, origin).await?;
            Ok(Vec::new())
        }
        ("log", "get") => log(app, with).await,
        _ => Err(unknown(module, function)),
    }
}

pub(super) fn unknown(module: &str, function: &str) -> Failed {
    Failed::new(format!("the module {module} has no function '{function}'"))
}

/// The lines of the last `age` seconds, of programs or texts with one of the `tags` if there are any.
async fn log(app: &App, with: &Arguments<'_>) -> Called {
    let age_s: u64 = with.text("age").and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
    let tags: Vec<&str> = with
        .var("tags")
        .map(|tags| tags.children.iter().filter_map(|entry| entry.attribute("value")).collect())
        .unwrap_or_default();
    let all_of_them = with.is_set("intersection", false);
    let now_ms = crate::agent::clock::now_ms();
    let entries = app.log.lines(crate::agent::log::LINES_MAX).await?.into_iter().filter_map(|line| {
        let age = now_ms.saturating_sub(line.at_ms) / 1000;
        let has = |tag: &&str| line.program == **tag || line.text.contains(*tag);
        let tagged = tags.is_empty() || if all_of_them { tags.iter().all(has) } else { tags.iter().any(has) };
        (age <= age_s && tagged).then(|| {
            Element::new("logentry")
                .with("age", age.to_string())
                .with("domain", line.program)
                .with("pid", "0")
                .with("msg", line.text)
        })
    });
    Ok(vec![holder("log", "list_xml", entries.collect())])
}

/// Begins an operation of the node and waits until it has ended.
pub(super) async fn operate(
    app: &Arc<App>,
    kind: HostOperationKind,
    at_boot: bool,
    origin: &str,
) -> Result<(), Failed> {
    app.operations.begin(app, kind, at_boot, origin).await?;
    loop {
        match app.operations.last().await {
            Some(operation) if operation.kind == kind && operation.ended_ms.is_none() => {
                tokio::time::sleep(OPERATION_POLL).await;
            }
            Some(operation) if operation.kind == kind => {
                return operation.failure.map_or(Ok(()), |why| Err(Failed::new(why)));
            }
            _ => return Err(Failed::new("another operation of this node has taken its place")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::{Context, Waker};

    use super::*;
    use crate::agent::legacy::xml;

    #[test]
    fn how_far_a_batch_is_is_on_disk_before_anybody_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let batch = xml::parse(b"<batch><module name=\"reboot\"/></batch>").unwrap();
        let report = Arc::new(Mutex::new(scheduled(&batch)));
        let queue = Queue::at(folder.path());
        let progress = Progress { id: 7, queue: queue.clone(), origin: "test".into(), batch, report };
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let queued =
                Queued { origin: "test".into(), batch: progress.batch.clone(), report: scheduled(&progress.batch) };
            queue.add(7, &queued).await.unwrap();
            // Nothing is written while the only thread for it is busy.
            let (let_go, busy) = mpsc::channel::<()>();
            let writer = tokio::task::spawn_blocking(move || busy.recv());
            let mut change = pin!(progress.change(|report| set_status(&mut report.children[0], DONE)));
            assert!(change.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            assert_eq!(progress.status_of(0).as_deref(), Some(SCHEDULED));
            let_go.send(()).unwrap();
            change.await;
            writer.await.unwrap().unwrap();
        });
        assert_eq!(progress.status_of(0).as_deref(), Some(DONE));
        assert_eq!(queue.load().1[0].1.report.children[0].attribute("status"), Some(DONE));
    }
}
