//! Runs the devices of one fence method, in order, as the fence agents expect it: `key=value` lines on standard
//! input, exit code 0 for success (rhcs.md §9.1).
//!
//! Called by the driver for `Action::RunFence` and for `fence_node`. Stops at the first device that fails, retries
//! nothing and believes nothing: whether the node is down is for the engine to judge. What an agent printed is kept
//! with every secret masked, because it travels to all members and to the pages.

use std::path::{Path, PathBuf};
use std::time::Duration;

use shared::conf::model::FenceInstance;
pub use shared::conf::secret::is_secret;
use shared::status::FenceDeviceRun;
use tokio_util::sync::CancellationToken;

use super::clock::millis;
use super::masking::mask;
use super::process::{self, How, Program};
use crate::secrets::{Resolved, Secrets};

/// Where distributions put fence agents.
const AGENT_DIRECTORIES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/usr/local/sbin"];

/// How long one device may take, beside the waiting its own arguments ask for. The agents' own limits (login,
/// shell and power timeouts) add up to less.
const DEVICE_DEADLINE: Duration = Duration::from_secs(120);

/// Longest waiting that a device's arguments are believed.
const ASKED_WAIT_MAX_S: u64 = 3600;

/// Arguments that make an agent wait, in seconds.
const WAITING_ARGUMENTS: [&str; 5] = ["delay", "power_timeout", "power_wait", "login_timeout", "shell_timeout"];

/// What is kept of a device's output: it is sent to all members and shown on pages.
const OUTPUT_TOLD_BYTES: usize = 4096;

/// What the agents are asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FenceAction {
    /// Fence: as the device says, or the agent's own default (mostly reboot).
    Fence,
    /// Give access back: as the device says, or `on`.
    Unfence,
    /// Look only, whatever the device says.
    Status,
}

/// Finds and runs fence agents.
#[derive(Debug, Clone)]
pub struct FenceAgents {
    directories: Vec<PathBuf>,
    deadline: Duration,
    secrets: Secrets,
}

impl Default for FenceAgents {
    fn default() -> Self {
        let directories = AGENT_DIRECTORIES.map(PathBuf::from).to_vec();
        Self { directories, deadline: DEVICE_DEADLINE, secrets: Secrets::default() }
    }
}

impl FenceAgents {
    /// Looks for agents elsewhere and gives each another deadline.
    pub fn new(directories: Vec<PathBuf>, deadline: Duration) -> Self {
        Self { directories, deadline, secrets: Secrets::default() }
    }

    /// Takes the secrets that cluster.conf refers to from here.
    pub fn with_secrets(self, secrets: Secrets) -> Self {
        Self { secrets, ..self }
    }

    /// Runs the devices in order until one fails. All succeeded if the last run has code 0 and no device is missing
    /// from the list; see [`succeeded`].
    pub async fn run(
        &self,
        devices: &[FenceInstance],
        action: FenceAction,
        abort: CancellationToken,
    ) -> Vec<FenceDeviceRun> {
        let mut runs = Vec::new();
        for device in devices {
            let run = self.run_device(device, action, &abort).await;
            let failed = run.code != Some(0);
            runs.push(run);
            if failed {
                break;
            }
        }
        runs
    }

    async fn run_device(
        &self,
        device: &FenceInstance,
        action: FenceAction,
        abort: &CancellationToken,
    ) -> FenceDeviceRun {
        let (Resolved { arguments, secrets }, lacking) = match self.secrets.resolve(&arguments(device, action)) {
            Ok(resolved) => (resolved, None),
            Err(error) => (Resolved::default(), Some(shared::chain(&error))),
        };
        let told = |code, output: String, duration| FenceDeviceRun {
            device: device.device.clone(),
            agent: device.agent.clone(),
            code,
            output: end_of(mask(&output, pairs(&arguments), &secrets)),
            duration_ms: millis(duration),
        };
        if let Some(why) = lacking {
            return told(None, why, Duration::ZERO);
        }
        let Some(path) = self.find(&device.agent) else {
            let output = format!("fence agent {} is not installed on this node", device.agent);
            return told(None, output, Duration::ZERO);
        };
        let Some(stdin) = render_stdin(&arguments) else {
            return told(None, "an argument holds a line break and cannot be handed over".to_owned(), Duration::ZERO);
        };
        let deadline = self.deadline + asked_wait(&arguments);
        let program = Program {
            path,
            arguments: Vec::new(),
            environment: environment(),
            stdin: Some(stdin),
            timeout: Some(deadline),
        };
        let ended = process::run(program, abort.clone()).await;
        let (code, remark) = match ended.how {
            How::Exited(code) => (Some(code), None),
            How::Signalled(signal) => (None, Some(format!("killed by signal {signal}"))),
            How::TimedOut => (None, Some(format!("no answer within {} seconds; killed", deadline.as_secs()))),
            How::Aborted => (None, Some("given up".to_owned())),
            How::NotStarted(error) => (None, Some(format!("could not be run: {error}"))),
        };
        let output = [Some(ended.output).filter(|text| !text.is_empty()), remark];
        told(code, output.into_iter().flatten().collect::<Vec<_>>().join("\n"), ended.duration)
    }

    fn find(&self, agent: &str) -> Option<PathBuf> {
        // A name, never a path: it comes from cluster.conf.
        if agent.is_empty() || agent.starts_with('.') || agent.contains('/') {
            return None;
        }
        self.directories.iter().map(|directory| directory.join(agent)).find(|path| is_program(path))
    }
}

/// Whether every device of the method succeeded.
pub fn succeeded(devices: &[FenceInstance], runs: &[FenceDeviceRun]) -> bool {
    !devices.is_empty() && runs.len() == devices.len() && runs.iter().all(|run| run.code == Some(0))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn environment() -> Vec<(String, String)> {
    [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("LANG", "C.UTF-8"), ("HOME", "/root")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

/// The arguments with the action. `option` is the older name of `action`, still found in old files; agents of today
/// do not know it.
fn arguments(device: &FenceInstance, action: FenceAction) -> Vec<(String, String)> {
    let is_action = |name: &str| name == "action" || name == "option";
    let own = device.arguments.iter().find(|(name, _)| is_action(name)).map(|(_, value)| value.clone());
    let wanted = match action {
        FenceAction::Fence => own,
        FenceAction::Unfence => Some(own.unwrap_or_else(|| "on".to_owned())),
        FenceAction::Status => Some("status".to_owned()),
    };
    let rest = device.arguments.iter().filter(|(name, _)| !is_action(name)).cloned();
    wanted.map(|value| ("action".to_owned(), value)).into_iter().chain(rest).collect()
}

/// `None` if an argument could smuggle in another one.
fn render_stdin(arguments: &[(String, String)]) -> Option<Vec<u8>> {
    let mut text = String::new();
    for (name, value) in arguments {
        if name.is_empty() || name.contains(['\n', '=', '\0']) || value.contains(['\n', '\0']) {
            return None;
        }
        text.push_str(&format!("{name}={value}\n"));
    }
    Some(text.into_bytes())
}

/// The waiting that the arguments themselves ask for.
fn asked_wait(arguments: &[(String, String)]) -> Duration {
    let seconds = arguments
        .iter()
        .filter(|(name, _)| WAITING_ARGUMENTS.contains(&name.as_str()))
        .filter_map(|(_, value)| value.trim().trim_end_matches('s').parse::<u64>().ok())
        .fold(0, u64::saturating_add);
    Duration::from_secs(seconds.min(ASKED_WAIT_MAX_S))
}

fn pairs(arguments: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    arguments.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

/// The last lines that fit.
fn end_of(text: String) -> String {
    if text.len() <= OUTPUT_TOLD_BYTES {
        return text;
    }
    let mut from = text.len() - OUTPUT_TOLD_BYTES;
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let end = &text[from..];
    end.split_once('\n').map_or(end, |(_, whole_lines)| whole_lines).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(arguments: &[(&str, &str)]) -> FenceInstance {
        FenceInstance {
            device: "apc".into(),
            agent: "fence_apc".into(),
            arguments: arguments.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        }
    }

    #[test]
    fn the_device_decides_the_action_unless_only_a_look_is_wanted() {
        let plain = device(&[("port", "1")]);
        let off = device(&[("option", "off"), ("port", "1")]);
        let action = |device: &FenceInstance, action| {
            arguments(device, action).into_iter().find(|(name, _)| name == "action").map(|(_, value)| value)
        };
        assert_eq!(action(&plain, FenceAction::Fence), None);
        assert_eq!(action(&off, FenceAction::Fence).as_deref(), Some("off"));
        assert_eq!(action(&plain, FenceAction::Unfence).as_deref(), Some("on"));
        assert_eq!(action(&off, FenceAction::Status).as_deref(), Some("status"));
    }

    #[test]
    fn a_line_break_in_an_argument_is_refused_because_it_would_be_another_argument() {
        assert_eq!(render_stdin(&[("ip".into(), "1\naction=off".into())]), None);
    }

    #[test]
    fn the_waiting_a_device_asks_for_is_added_to_its_deadline() {
        let arguments = device(&[("delay", "30"), ("power_timeout", "60s"), ("timeout", "7")]).arguments;
        assert_eq!(asked_wait(&arguments), Duration::from_secs(90));
    }
}
