//! Runs one operation of one resource: an OCF resource agent, an init script, or a systemd unit.
//!
//! Called by the driver for `Action::RunAgent`; the result comes over a channel. Knows the calling conventions of
//! the three kinds and nothing of services, trees or recovery: a failure is an exit code, never a retry.
//! Every code is told in OCF's numbers (rhcs.md §3.7); `None` says that there is no code to believe.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::{Operation, RunId};
use shared::conf::sealed::referred;
use shared::ids::{ResourceName, ServiceName};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::cgroup::Cgroups;
use super::clock::millis;
use super::leftover;
use super::links;
use super::masking::mask;
use super::process::{self, Ended, How, Program};
use crate::secrets::{SecretError, Secrets};

/// Below it lie `resource.d` and `lib`.
pub const OCF_ROOT: &str = "/usr/lib/ocf";

/// Where agents keep small state files that must not survive a boot. The packaged agents expect it to exist.
const AGENT_STATE: &str = "/run/resource-agents";

const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Checks that run at the same time. More would only compete for the processors; a check that hangs holds its
/// place until its timeout.
const CHECKS_MAX: usize = 128;

/// Starts and stops that run at the same time; apart from the checks, so that hanging checks delay no recovery.
const CHANGES_MAX: usize = 512;

/// First step of every run, in a shell because that starts in half a millisecond: puts the run on record, enters its
/// cgroup (`$0`, or `none`), becomes the agent. An agent forks as soon as it runs, so that both must come before it.
/// Whichever fails, the agent still runs: the service matters more.
const ENTER: &str =
    "{ echo $$ > \"$RGMANAGER_RUN\"; [ \"$0\" = none ] || echo 0 > \"$0/cgroup.procs\"; } 2> /dev/null; exec \"$@\"";

/// OCF's number for "a parameter cannot be right".
const OCF_ERR_ARGS: i32 = 2;
/// OCF's number for "cannot do that".
const OCF_ERR_UNIMPLEMENTED: i32 = 3;
/// OCF's number for "may not".
const OCF_ERR_PERM: i32 = 4;
/// OCF's number for "is not installed".
const OCF_ERR_INSTALLED: i32 = 5;
/// OCF's number for "does not run".
const OCF_NOT_RUNNING: i32 = 7;

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runner {
    /// `OCF_ROOT/resource.d/<provider>/<kind>`.
    Ocf { provider: String, kind: String },
    /// An init script that knows start, stop and status.
    Script { path: PathBuf },
    /// A unit of systemd, with its suffix.
    Systemd { unit: String },
    /// Runs nothing; is "started" between its start and its stop, until the node boots.
    Grouping,
}

/// One run.
#[derive(Debug, Clone)]
pub struct RunSpec {
    pub id: RunId,
    pub service: ServiceName,
    pub resource: ResourceName,
    pub operation: Operation,
    pub runner: Runner,
    /// Parameters of the agent, by its own names.
    pub parameters: BTreeMap<String, String>,
    /// The declared timeout; `None` if it is not to be enforced.
    pub timeout_ms: Option<u64>,
    /// What the agent is told of its timeout, also when nobody enforces it.
    pub timeout_told_ms: u64,
    /// 0: asked once, to find out (agents call it a probe).
    pub interval_ms: u64,
    /// `OCF_CHECK_LEVEL`.
    pub depth: u32,
    /// The other node of a migration, as agents are told it.
    pub peer: Option<String>,
    /// The run has failed, whatever the agent says, if the link with this address is down (`monitor_link`).
    pub link_of: Option<IpAddr>,
}

impl RunSpec {
    /// The result of a run for which no process is started.
    fn refused(&self, code: i32, output: String) -> RunFinished {
        RunFinished {
            id: self.id,
            service: self.service.clone(),
            resource: self.resource.clone(),
            operation: self.operation,
            code: Some(code),
            output,
            duration_ms: 0,
            timed_out: false,
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFinished {
    pub id: RunId,
    pub service: ServiceName,
    pub resource: ResourceName,
    pub operation: Operation,
    /// In OCF's numbers; `None`: killed after its timeout, aborted, or could not be started.
    pub code: Option<i32>,
    /// The end of what it printed, secrets masked, and one line of ours if it did not end by itself.
    pub output: String,
    pub duration_ms: u64,
    pub timed_out: bool,
}

/// All runs of this daemon.
#[derive(Debug, Clone)]
pub struct Runs {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    places: Places,
    cgroups: Option<Cgroups>,
    results: mpsc::Sender<RunFinished>,
    aborts: Mutex<BTreeMap<RunId, CancellationToken>>,
    tasks: Mutex<JoinSet<()>>,
    checks: Semaphore,
    changes: Semaphore,
}

/// Where things lie; other than the usual only in tests.
#[derive(Debug, Clone)]
pub struct Places {
    pub ocf_root: PathBuf,
    pub systemctl: PathBuf,
    /// Holds a file for every grouping that is started. Gone after a boot.
    pub groupings: PathBuf,
    /// Holds a record of every run, for the daemon that comes after a killed one. Gone after a boot.
    pub records: PathBuf,
    /// Holds what was started here, for the same daemon. Gone after a boot.
    pub started: PathBuf,
    /// What parameters refer to.
    pub secrets: Secrets,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            ocf_root: OCF_ROOT.into(),
            systemctl: "/usr/bin/systemctl".into(),
            groupings: "/run/cluster/groupings".into(),
            records: leftover::RECORDS.into(),
            started: "/run/cluster/started".into(),
            secrets: Secrets::default(),
        }
    }
}

impl Runs {
    /// Results go to `results`; a full channel holds back the runs that have ended, never those that run.
    pub fn new(places: Places, cgroups: Option<Cgroups>, results: mpsc::Sender<RunFinished>) -> Self {
        Self {
            inner: Arc::new(Inner {
                places,
                cgroups,
                results,
                aborts: Mutex::default(),
                tasks: Mutex::default(),
                checks: Semaphore::new(CHECKS_MAX),
                changes: Semaphore::new(CHANGES_MAX),
            }),
        }
    }

    /// Begins a run and returns at once. Exactly one `RunFinished` with its id follows.
    pub fn start(&self, spec: RunSpec) {
        let abort = CancellationToken::new();
        lock(&self.inner.aborts).insert(spec.id, abort.clone());
        let inner = Arc::clone(&self.inner);
        let mut tasks = lock(&self.inner.tasks);
        // Finished tasks are collected here, so that the set holds the running ones only.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let id = spec.id;
            let finished = inner.run(spec, abort).await;
            lock(&inner.aborts).remove(&id);
            // The driver is gone if nobody listens; there is no one left to tell.
            let _ = inner.results.send(finished).await;
        });
    }

    /// Kills the process group of a run; its `RunFinished` still comes. Unknown ids are runs that have just ended.
    pub fn abort(&self, id: RunId) {
        if let Some(abort) = lock(&self.inner.aborts).get(&id) {
            abort.cancel();
        }
    }

    /// Runs that have begun and not ended.
    pub fn running(&self) -> usize {
        lock(&self.inner.aborts).len()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these locks; and if it did, the data would still be whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the directory for agents' state files, as the package of the agents does at boot, and the one for records.
pub fn prepare(places: &Places) -> std::io::Result<()> {
    std::fs::create_dir_all(&places.records)?;
    std::fs::create_dir_all(AGENT_STATE)?;
    std::fs::set_permissions(AGENT_STATE, std::fs::Permissions::from_mode(0o1755))
}

impl Inner {
    async fn run(&self, mut spec: RunSpec, abort: CancellationToken) -> RunFinished {
        let lane = if spec.operation == Operation::Monitor { &self.checks } else { &self.changes };
        let Ok(_place) = lane.acquire().await else {
            unreachable!("the lanes are never closed");
        };
        let program = self.resolve(&mut spec).and_then(|secrets| Ok((self.program(&spec)?, secrets)));
        let (program, secrets) = match program {
            Ok(program) => program,
            Err(refused) => return refused.finished(&spec),
        };
        let earlier = self.living(&spec);
        let ended = process::run(program, abort).await;
        // Not there if the run never came to its first step.
        let _ = std::fs::remove_file(self.record(spec.id));
        let finished = with_link(&spec, finished(&spec, ended, &secrets));
        if finished.code == Some(0) { finished } else { with_earlier(finished, &earlier, &self.living(&spec)) }
    }

    /// What lives of a resource that is being started. An agent's stop can leave some of it: workers whose master was killed.
    fn living(&self, spec: &RunSpec) -> BTreeMap<u32, String> {
        let cgroups = self.cgroups.as_ref().filter(|_| spec.operation == Operation::Start);
        cgroups.map(|cgroups| cgroups.living(&spec.service, &spec.resource)).unwrap_or_default()
    }

    /// Puts secrets in the place of references; the secrets.
    fn resolve(&self, spec: &mut RunSpec) -> Result<Vec<String>, Refused> {
        let mut secrets = Vec::new();
        let operation = spec.operation;
        let mut lacking = None;
        spec.parameters.retain(|_, value| {
            let Some(name) = referred(value) else { return true };
            match self.places.secrets.read(name) {
                Ok(secret) => {
                    secrets.push(secret.clone());
                    *value = secret;
                    true
                }
                // What runs already is looked at and stopped without it: refusing would leave it where it may not be.
                Err(error) if operation != Operation::Start => {
                    tracing::warn!("{} {}: {}", spec.service, spec.resource, shared::chain(&error));
                    false
                }
                Err(error) => {
                    lacking.get_or_insert(error);
                    true
                }
            }
        });
        lacking.map_or(Ok(secrets), |error| Err(Refused::Secret(error)))
    }

    fn program(&self, spec: &RunSpec) -> Result<Program, Refused> {
        let invocation = match &spec.runner {
            Runner::Ocf { provider, kind } => self.place(spec, self.ocf(spec, provider, kind)?),
            Runner::Script { path } => self.place(spec, script(spec, path)?),
            // systemd keeps its units in cgroups of their own, and their starts outlive any systemctl.
            Runner::Systemd { unit } => systemd(spec, unit, &self.places.systemctl)?,
            Runner::Grouping => return Err(Refused::NothingToRun(self.grouping(spec))),
        };
        let Invocation { path, arguments, environment } = invocation;
        let timeout = spec.timeout_ms.map(Duration::from_millis);
        Ok(Program { path, arguments, environment, stdin: None, timeout })
    }

    /// Does what a grouping's operation is, which needs no process; the exit code.
    fn grouping(&self, spec: &RunSpec) -> i32 {
        let path = self.places.groupings.join(instance(&spec.service, &spec.resource));
        let done = match spec.operation {
            Operation::Monitor => return if path.exists() { 0 } else { OCF_NOT_RUNNING },
            Operation::Start => {
                std::fs::create_dir_all(&self.places.groupings).and_then(|()| std::fs::write(&path, ""))
            }
            Operation::Stop => match std::fs::remove_file(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                other => other,
            },
            Operation::MigrateTo | Operation::MigrateFrom => return OCF_ERR_UNIMPLEMENTED,
        };
        i32::from(done.is_err())
    }

    /// Leads the run through its first step.
    fn place(&self, spec: &RunSpec, mut invocation: Invocation) -> Invocation {
        let cgroup = self.cgroups.as_ref().map(|cgroups| {
            let stays = spec.operation == Operation::Start;
            cgroups.of_run(&spec.service, &spec.resource, stays).inspect_err(|error| {
                tracing::warn!("{} {}: no cgroup, runs without one: {error}", spec.service, spec.resource);
            })
        });
        let cgroup = cgroup.and_then(Result::ok).unwrap_or_else(|| "none".into());
        let mut arguments: Vec<OsString> = vec!["-c".into(), ENTER.into(), cgroup.into(), invocation.path.into()];
        arguments.append(&mut invocation.arguments);
        let record = self.record(spec.id).to_string_lossy().into_owned();
        invocation.environment.push((leftover::VARIABLE.to_owned(), record));
        Invocation { path: "/bin/sh".into(), arguments, environment: invocation.environment }
    }

    fn record(&self, id: RunId) -> PathBuf {
        self.places.records.join(id.0.to_string())
    }

    fn ocf(&self, spec: &RunSpec, provider: &str, kind: &str) -> Result<Invocation, Refused> {
        check_word(provider)?;
        check_word(kind)?;
        let path = self.places.ocf_root.join("resource.d").join(provider).join(kind);
        check_executable(&path)?;
        let operation = spec.operation.name();
        let mut environment = essentials();
        for (name, value) in [
            ("OCF_ROOT", self.places.ocf_root.to_string_lossy().into_owned()),
            ("OCF_RA_VERSION_MAJOR", "1".into()),
            ("OCF_RA_VERSION_MINOR", "1".into()),
            ("OCF_RESOURCE_INSTANCE", instance(&spec.service, &spec.resource)),
            ("OCF_RESOURCE_TYPE", kind.to_owned()),
            ("OCF_RESOURCE_PROVIDER", provider.to_owned()),
            ("OCF_CHECK_LEVEL", spec.depth.to_string()),
            // Agents bound their own waiting by these (milliseconds), and tell a probe by the interval.
            ("OCF_RESKEY_CRM_meta_timeout", spec.timeout_told_ms.to_string()),
            ("OCF_RESKEY_CRM_meta_interval", spec.interval_ms.to_string()),
            ("OCF_RESKEY_CRM_meta_name", operation.to_owned()),
            // Without a facility agents log to standard error, which is kept with the run.
            ("HA_LOGFACILITY", "none".into()),
            ("HA_debug", "0".into()),
            ("HA_RSCTMP", AGENT_STATE.into()),
        ] {
            environment.push((name.to_owned(), value));
        }
        let told = match spec.operation {
            Operation::MigrateTo => Some("OCF_RESKEY_CRM_meta_migrate_target"),
            Operation::MigrateFrom => Some("OCF_RESKEY_CRM_meta_migrate_source"),
            Operation::Start | Operation::Stop | Operation::Monitor => None,
        };
        environment.extend(told.zip(spec.peer.clone()).map(|(name, peer)| (name.to_owned(), peer)));
        for (name, value) in &spec.parameters {
            check_parameter(name, value)?;
            environment.push((format!("OCF_RESKEY_{name}"), value.clone()));
        }
        Ok(Invocation { path, arguments: vec![operation.into()], environment })
    }
}

struct Invocation {
    path: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(String, String)>,
}

fn script(spec: &RunSpec, path: &Path) -> Result<Invocation, Refused> {
    check_executable(path)?;
    let verb = match spec.operation {
        Operation::Start => "start",
        Operation::Stop => "stop",
        Operation::Monitor => "status",
        Operation::MigrateTo | Operation::MigrateFrom => return Err(Refused::NothingToRun(OCF_ERR_UNIMPLEMENTED)),
    };
    Ok(Invocation { path: path.to_owned(), arguments: vec![verb.into()], environment: essentials() })
}

fn systemd(spec: &RunSpec, unit: &str, systemctl: &Path) -> Result<Invocation, Refused> {
    check_word(unit)?;
    check_executable(systemctl)?;
    let verb = match spec.operation {
        Operation::Start => "start",
        Operation::Stop => "stop",
        Operation::Monitor => "is-active",
        Operation::MigrateTo | Operation::MigrateFrom => return Err(Refused::NothingToRun(OCF_ERR_UNIMPLEMENTED)),
    };
    let unit = if unit.contains('.') { unit.to_owned() } else { format!("{unit}.service") };
    let arguments = ["--no-ask-password", verb, "--", &unit].map(OsString::from).to_vec();
    Ok(Invocation { path: systemctl.to_owned(), arguments, environment: essentials() })
}

/// What every program may count on; nothing else of the daemon's environment reaches it.
pub(crate) fn essentials() -> Vec<(String, String)> {
    [("PATH", SEARCH_PATH), ("LANG", "C.UTF-8"), ("HOME", "/root"), ("SHELL", "/bin/sh")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

/// `OCF_RESOURCE_INSTANCE`: agents build file names from it and cut it at a colon, so it has neither slash nor
/// colon; names that become alike by this get a number of their own.
fn instance(service: &ServiceName, resource: &ResourceName) -> String {
    let full = format!("{}.{}", service.bare(), resource.as_str().replacen(':', ".", 1));
    let mut number = 0xcbf2_9ce4_8422_2325_u64;
    let mut replaced = false;
    let mut text: String = full
        .chars()
        .map(|letter| {
            number = (number ^ u64::from(letter)).wrapping_mul(0x0100_0000_01b3);
            if letter.is_alphanumeric() || matches!(letter, '.' | '_' | '-') {
                letter
            } else {
                replaced = true;
                '_'
            }
        })
        .collect();
    if replaced {
        text.push_str(&format!("-{:06x}", number & 0xff_ffff));
    }
    text
}

/// Why no process was started.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{} is not installed on this node", path.display())]
    Missing { path: PathBuf },
    #[error("{} is not executable; give it mode 755", path.display())]
    NotExecutable { path: PathBuf },
    #[error("{0:?} cannot be the name of an agent or unit")]
    Word(String),
    #[error("")]
    NothingToRun(i32),
    #[error("parameter {0:?} cannot be handed to an agent: names have letters, digits and _ only, values no zero byte")]
    Parameter(String),
    #[error(transparent)]
    Secret(SecretError),
}

impl Refused {
    fn finished(&self, spec: &RunSpec) -> RunFinished {
        let code = match self {
            Self::Missing { .. } => OCF_ERR_INSTALLED,
            Self::NotExecutable { .. } => OCF_ERR_PERM,
            Self::Word(_) | Self::Parameter(_) | Self::Secret(_) => OCF_ERR_ARGS,
            Self::NothingToRun(code) => *code,
        };
        spec.refused(code, self.to_string())
    }
}

/// Names become parts of paths and arguments.
fn check_word(word: &str) -> Result<(), Refused> {
    let fine = !word.is_empty() && !word.starts_with(['.', '-']) && !word.contains(['/', '\0']);
    if fine { Ok(()) } else { Err(Refused::Word(word.to_owned())) }
}

fn check_parameter(name: &str, value: &str) -> Result<(), Refused> {
    // It becomes a variable of the environment, and shells know no others.
    let spellable = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    let fine = !name.is_empty() && spellable && !value.contains('\0');
    if fine { Ok(()) } else { Err(Refused::Parameter(name.to_owned())) }
}

fn check_executable(path: &Path) -> Result<(), Refused> {
    match std::fs::metadata(path) {
        Ok(file) if file.is_file() && file.permissions().mode() & 0o111 != 0 => Ok(()),
        Ok(_) => Err(Refused::NotExecutable { path: path.to_owned() }),
        Err(_) => Err(Refused::Missing { path: path.to_owned() }),
    }
}

fn finished(spec: &RunSpec, ended: Ended, secrets: &[String]) -> RunFinished {
    let Ended { how, output, duration } = ended;
    let mut output =
        mask(&output, spec.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())), secrets);
    let timed_out = matches!(how, How::TimedOut);
    let (code, remark) = match how {
        // On its way up or down: neither running nor safely absent.
        How::Exited(3) if is_check_of_unit(spec) && ["activating", "deactivating"].contains(&output.as_str()) => {
            (Some(1), None)
        }
        How::Exited(code) => (Some(ocf_code(&spec.runner, spec.operation, code)), None),
        // As a shell would number it; a failure like any other.
        How::Signalled(signal) => (Some(128 + signal), Some(format!("killed by signal {signal}"))),
        How::TimedOut => {
            let seconds = duration.as_secs_f64();
            (None, Some(format!("{} timed out after {seconds:.1} seconds and was killed", spec.operation.name())))
        }
        How::Aborted => (None, Some(format!("{} was given up and killed", spec.operation.name()))),
        How::NotStarted(error) => (None, Some(format!("could not be run: {error}"))),
    };
    if let Some(remark) = remark {
        if !output.is_empty() {
            output.push('\n');
        }
        output.push_str(&remark);
    }
    RunFinished {
        id: spec.id,
        service: spec.service.clone(),
        resource: spec.resource.clone(),
        operation: spec.operation,
        code,
        output,
        duration_ms: millis(duration),
        timed_out,
    }
}

/// `monitor_link`: an address whose link is down serves nobody.
fn with_link(spec: &RunSpec, mut finished: RunFinished) -> RunFinished {
    if finished.code == Some(0)
        && let Some(fault) = spec.link_of.and_then(links::fault)
    {
        finished.code = Some(1);
        finished.output = fault;
    }
    finished
}

/// A start that failed beside what an earlier one had left: that may hold the port or the files, and no agent names it.
fn with_earlier(
    mut finished: RunFinished,
    earlier: &BTreeMap<u32, String>,
    now: &BTreeMap<u32, String>,
) -> RunFinished {
    let left: Vec<String> = earlier
        .iter()
        .filter(|(number, _)| now.contains_key(number))
        .map(|(number, name)| format!("{name} ({number})"))
        .collect();
    if !left.is_empty() {
        let left = left.join(", ");
        finished.output.push_str(&format!(
            "\nof an earlier start still run: {left}; they may hold what this one needs, and its agent does not stop them"
        ));
    }
    finished
}

fn is_check_of_unit(spec: &RunSpec) -> bool {
    spec.operation == Operation::Monitor && matches!(spec.runner, Runner::Systemd { .. })
}

/// What an exit code means in OCF's numbers.
fn ocf_code(runner: &Runner, operation: Operation, code: i32) -> i32 {
    match (runner, operation) {
        (Runner::Ocf { .. } | Runner::Grouping, _) => code,
        // Dead with a pid file or lock file left, or not running (LSB 1 to 3): all are "does not run".
        (Runner::Script { .. }, Operation::Monitor) => match code {
            0 => 0,
            1..=3 => OCF_NOT_RUNNING,
            _ => 1,
        },
        // LSB 7 is "is not running", which is what a stop is for.
        (Runner::Script { .. }, Operation::Stop) if code == OCF_NOT_RUNNING => 0,
        (Runner::Script { .. }, _) => code,
        // is-active: 0 active, 3 not, 4 no such unit.
        (Runner::Systemd { .. }, Operation::Monitor) => match code {
            0 => 0,
            3 => OCF_NOT_RUNNING,
            4 => OCF_ERR_INSTALLED,
            _ => 1,
        },
        // A unit that does not exist is not running either: 5 is "not loaded".
        (Runner::Systemd { .. }, Operation::Stop) if code == 5 => 0,
        (Runner::Systemd { .. }, _) => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_of_init_scripts_and_units_are_told_in_the_numbers_of_ocf() {
        let script = Runner::Script { path: "/etc/init.d/x".into() };
        let unit = Runner::Systemd { unit: "x".into() };
        for (runner, operation, code, expected) in [
            (&script, Operation::Monitor, 0, 0),
            (&script, Operation::Monitor, 1, 7),
            (&script, Operation::Monitor, 3, 7),
            (&script, Operation::Monitor, 4, 1),
            (&script, Operation::Start, 1, 1),
            (&script, Operation::Stop, 7, 0),
            (&script, Operation::Stop, 1, 1),
            (&unit, Operation::Monitor, 3, 7),
            (&unit, Operation::Monitor, 4, 5),
            (&unit, Operation::Start, 5, 5),
            (&unit, Operation::Stop, 5, 0),
        ] {
            assert_eq!(ocf_code(runner, operation, code), expected, "{runner:?} {operation:?} {code}");
        }
    }

    #[test]
    fn instances_are_file_names_without_colon_and_differ_when_the_names_do() {
        let instance = |resource: &str| instance(&ServiceName::parse("web"), &ResourceName::from(resource));
        assert_eq!(instance("ip:10.0.0.1"), "web.ip.10.0.0.1");
        assert!(!instance("ip:10.0.0.1/24").contains('/'));
        assert_ne!(instance("ip:10.0.0.1/24"), instance("ip:10.0.0.1_24"));
        assert!(!instance("ocf:a:b").contains(':'));
    }

    #[test]
    fn an_agents_name_cannot_lead_out_of_its_directory() {
        for bad in ["", "..", "../sh", "a/b", "-h", ".hidden"] {
            assert!(check_word(bad).is_err(), "{bad:?}");
        }
        assert!(check_word("IPaddr2").is_ok());
    }
}
