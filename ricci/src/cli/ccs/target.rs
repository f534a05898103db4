//! Where a configuration comes from and goes to: a file, this node's cluster, or the cluster of a ricci host. A version
//! with errors goes nowhere. What is merely not complete yet (no nodes, a method without device) is written to a file
//! as it is; for a cluster it is kept as a draft in `~/.ccs` until it is complete.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::Method;
use shared::api::{ConfAccepted, ConfDocument, ProblemCode, path};
use shared::conf::{Finding, Severity, digest, load};
use shared::ids::ConfVersion;
use shared::socket::{Ask, PutConf, Reply};

use super::fault::Fault;
use super::home::{Draft, Home, write};
use super::remote::{CallError, QUICK, Remote, SLOW};
use crate::cli::client::{AskError, Client, socket_path};
use crate::cli::conf_file::{ConfFileError, default_path, news_of, read, render_findings};
use crate::cli::console::complain;

/// Rules that a configuration breaks while it is being built, and that the next command may mend.
const INCOMPLETE: [&str; 4] = ["no-nodes", "method-empty", "domain-empty", "altname-missing"];

/// cluster.conf holds passwords of fence devices.
const FILE_MODE: u32 = 0o600;

/// For what rgmanager of this node knows by itself.
const QUICK_HERE: Duration = Duration::from_secs(2);

/// Behind a refusal by agents alone.
const OVERRULING: &str = "\n--despiteagents makes what the agents say warnings, if you know better";

/// After all members have stored a version, the switch is one message.
const SWITCH_LIMIT: Duration = Duration::from_secs(30);
const SWITCH_POLL: Duration = Duration::from_millis(100);

/// Where to.
pub(super) enum Target {
    File(PathBuf),
    /// rgmanager of this node.
    Local(Client),
    Host(Remote),
}

/// A configuration as it was found.
pub(super) struct Source {
    pub(super) text: String,
    /// What lies there without the draft; `None`: nothing.
    present: Option<String>,
}

/// What may be wrong with a version that is written all the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Terms {
    /// Errors of our own checks; members of a cluster refuse them in any case.
    pub(super) ignore: bool,
    /// What resource agents find wrong.
    pub(super) despite_agents: bool,
}

impl Target {
    /// This node: through rgmanager if it runs, else its file.
    pub(super) fn local() -> Result<Self, Fault> {
        match Client::connect(&socket_path(), QUICK) {
            Ok(client) => Ok(Self::Local(client)),
            Err(AskError::NotRunning { .. }) => Ok(Self::File(default_path())),
            Err(error) => Err(Fault::new(shared::chain(&error))),
        }
    }

    /// The draft's name, for targets that have one.
    fn draft_name(&self) -> Option<&str> {
        match self {
            Self::File(_) => None,
            Self::Local(_) => Some("localhost"),
            Self::Host(remote) => Some(&remote.address),
        }
    }

    /// For messages.
    fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Local(_) => "this node".to_owned(),
            Self::Host(remote) => remote.host.clone(),
        }
    }

    /// The configuration, or the draft that is to follow it.
    pub(super) fn read(&mut self) -> Result<Source, Fault> {
        let present = self.present()?;
        let draft = match self.draft_name() {
            Some(name) => Home::open()?.draft(name)?.map(|draft| (name, draft)),
            None => None,
        };
        if let Some((name, draft)) = draft {
            if draft.base != present.as_deref().map(digest) {
                return Err(Fault::new(format!(
                    "the configuration of {} has changed since the draft in {} was begun; remove that file and make the change again",
                    self.name(),
                    Home::open()?.draft_path(name).display()
                )));
            }
            return Ok(Source { text: draft.text, present });
        }
        let text = present
            .clone()
            .ok_or_else(|| Fault::new(format!("{} has no cluster.conf; make one with --createcluster", self.name())))?;
        Ok(Source { text, present })
    }

    /// To begin anew: nothing of what is there counts.
    pub(super) fn nothing(&mut self) -> Result<Source, Fault> {
        let present = match self {
            Self::File(_) => None,
            Self::Local(_) | Self::Host(_) => self.present()?,
        };
        Ok(Source { text: String::new(), present })
    }

    fn present(&mut self) -> Result<Option<String>, Fault> {
        match self {
            Self::File(path) => read_file(path).map(Some),
            Self::Local(client) => conf_in_force(client).map(|(_, text)| Some(text)),
            Self::Host(remote) => host_conf(remote).map(|found| found.map(|found| found.text)),
        }
    }

    /// `--backup`: keeps what is there, drafts left out; says where. Of a file that is not there yet nothing is kept.
    pub(super) fn back_up(&mut self) -> Result<(), Fault> {
        let present = match self {
            Self::File(path) if !path.exists() => None,
            _ => self.present()?,
        };
        let Some(text) = present else {
            complain(&format!("ccs: {} has no configuration yet; there is nothing to back up", self.name()));
            return Ok(());
        };
        let kept = Home::open()?.back_up(&text)?;
        complain(&format!("ccs: the configuration of {} as it was is in {}", self.name(), kept.display()));
        Ok(())
    }

    /// Writes what `source` became.
    pub(super) fn write(&mut self, source: &Source, text: &str, terms: Terms) -> Result<(), Fault> {
        let errors = errors_of(text);
        let (incomplete, wrong): (Vec<&Finding>, Vec<&Finding>) =
            errors.iter().partition(|finding| INCOMPLETE.contains(&finding.rule.as_str()));
        // An error that was there before is not this command's.
        let known = errors_of(&source.text);
        let is_new = |finding: &&&Finding| {
            !known.iter().any(|known| (&known.rule, &known.text) == (&finding.rule, &finding.text))
        };
        let new: Vec<&Finding> = wrong.iter().filter(is_new).copied().collect();
        if !new.is_empty() && !terms.ignore {
            return Err(refused(&new, ""));
        }
        if let Self::File(path) = self {
            return write(path, text.as_bytes(), FILE_MODE);
        }
        let draft_name = self.draft_name().map(str::to_owned);
        if let Some(name) = draft_name.as_deref().filter(|_| !incomplete.is_empty()) {
            return self.keep_draft(name, source, text, &incomplete);
        }
        let told = self.put(text, terms.despite_agents)?;
        let news = news_of(text, source.present.as_deref().unwrap_or_default(), &told);
        complain_of("cluster.conf", &news);
        match draft_name {
            Some(name) => Home::open()?.drop_draft(&name),
            None => Ok(()),
        }
    }

    fn keep_draft(&self, name: &str, source: &Source, text: &str, incomplete: &[&Finding]) -> Result<(), Fault> {
        let home = Home::open()?;
        home.keep_draft(name, &Draft { base: source.present.as_deref().map(digest), text: text.to_owned() })?;
        let why: Vec<&str> = incomplete.iter().map(|finding| finding.text.as_str()).collect();
        complain(&format!(
            "ccs: not sent to {} yet, kept in {}: {}",
            self.name(),
            home.draft_path(name).display(),
            why.join("; ")
        ));
        Ok(())
    }

    /// Gives the configuration to the cluster and waits until it is in force; what was said of it besides.
    fn put(&mut self, text: &str, despite_agents: bool) -> Result<Vec<Finding>, Fault> {
        match self {
            Self::File(path) => write(path, text.as_bytes(), FILE_MODE).map(|()| Vec::new()),
            Self::Local(client) => {
                let ask = Ask::PutConf { text: text.to_owned(), origin: origin(), despite_agents };
                match ask_rgmanager(client, &ask)? {
                    Reply::PutConf { result: PutConf::Accepted { version, findings, .. } } => {
                        wait_until(version, || conf_in_force(client).map(|(version, _)| version)).map(|()| findings)
                    }
                    Reply::PutConf { result: PutConf::Refused { findings } } => {
                        let errors: Vec<&Finding> =
                            findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
                        Err(refused(&errors, overruling(&findings)))
                    }
                    _ => Err(unexpected()),
                }
            }
            Self::Host(remote) => put_to_host(remote, text, despite_agents),
        }
    }
}

/// On stderr: what a version says that was accepted.
pub(super) fn complain_of(name: &str, findings: &[Finding]) {
    let told = render_findings(name, findings, Severity::Warning);
    if !told.is_empty() {
        complain(told.trim_end());
    }
}

/// What to do when nothing but agents refused.
fn overruling(findings: &[Finding]) -> &'static str {
    if shared::conf::judge::only_agents_refuse(findings) { OVERRULING } else { "" }
}

fn read_file(path: &Path) -> Result<String, Fault> {
    read(path).map_err(|error| match &error {
        ConfFileError::Unreadable { source, .. } => {
            let hint = match source.kind() {
                std::io::ErrorKind::NotFound => {
                    "; make one with --createcluster, or name another with -f or a host with -h"
                }
                _ => "",
            };
            Fault::new(format!("Unable to open file: {} ({source}){hint}", path.display()))
        }
        _ => Fault::new(shared::chain(&error)),
    })
}

/// Who and with what, for the logs of the cluster.
fn origin() -> String {
    format!("{} with ccs on {}", crate::cli::operator(), rustix::system::uname().nodename().to_string_lossy())
}

fn errors_of(text: &str) -> Vec<Finding> {
    load(text).findings.into_iter().filter(|finding| finding.severity == Severity::Error).collect()
}

fn refused(findings: &[&Finding], what_to_do: &str) -> Fault {
    let told: Vec<String> = findings.iter().map(|finding| format!("{}; {}", finding.text, finding.hint)).collect();
    Fault::new(format!("nothing was changed: {}{what_to_do}", told.join("\n")))
}

fn ask_rgmanager(client: &mut Client, ask: &Ask) -> Result<Reply, Fault> {
    // All members store a new version before it is answered; everything else is known here.
    let limit = if matches!(ask, Ask::PutConf { .. }) { SLOW } else { QUICK_HERE };
    match client.ask(ask, limit) {
        Ok(Reply::PermissionDenied) => Err(Fault::new("Permission denied; try again as root")),
        Ok(Reply::Error { text }) => Err(Fault::new(text)),
        Ok(reply) => Ok(reply),
        Err(error) => Err(Fault::new(shared::chain(&error))),
    }
}

fn unexpected() -> Fault {
    Fault::new("rgmanager answered another question; are both of the same release?")
}

fn conf_in_force(client: &mut Client) -> Result<(ConfVersion, String), Fault> {
    match ask_rgmanager(client, &Ask::Conf)? {
        Reply::Conf { version, text, .. } => Ok((version, text)),
        _ => Err(unexpected()),
    }
}

fn wait_until(wanted: ConfVersion, mut in_force: impl FnMut() -> Result<ConfVersion, Fault>) -> Result<(), Fault> {
    let begun = Instant::now();
    while in_force()? < wanted {
        if begun.elapsed() >= SWITCH_LIMIT {
            return Err(Fault::new(format!(
                "all members have stored version {wanted}, but it is not in force after {} seconds; clustat shows who is missing",
                SWITCH_LIMIT.as_secs()
            )));
        }
        std::thread::sleep(SWITCH_POLL);
    }
    Ok(())
}

/// The cluster.conf of a host; `None` if it has none.
pub(super) fn host_conf(remote: &Remote) -> Result<Option<ConfDocument>, Fault> {
    match remote.call(Method::GET, path::CONF, None::<&()>, QUICK) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.code() == Some(ProblemCode::NotFound) => Ok(None),
        Err(error) => Err(error.into_fault(&remote.host)),
    }
}

/// Into the running cluster, or onto the disk of a host on which none runs; what was said of it besides.
pub(super) fn put_to_host(remote: &Remote, text: &str, despite_agents: bool) -> Result<Vec<Finding>, Fault> {
    let put = |offline| -> Result<ConfAccepted, CallError> {
        let body = shared::api::PutConf { text: text.to_owned(), origin: origin(), offline, despite_agents };
        remote.call(Method::PUT, path::CONF, Some(&body), SLOW)
    };
    let accepted = match put(false) {
        Err(error) if error.code() == Some(ProblemCode::ClusterNotRunning) => put(true),
        result => result,
    };
    let accepted = accepted.map_err(|error| {
        let what_to_do = error.problem().map_or("", |problem| overruling(&problem.findings));
        let fault = error.into_fault(&remote.host);
        Fault { text: format!("{}{what_to_do}", fault.text), ..fault }
    })?;
    wait_until(accepted.version, || Ok(host_conf(remote)?.map_or(ConfVersion::default(), |found| found.version)))?;
    Ok(accepted.findings)
}
