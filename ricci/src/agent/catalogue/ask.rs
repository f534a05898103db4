//! Runs one agent for what it says: its metadata, or its judgement of parameters. Bounded in time and output.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use shared::agents::metadata::AgentClass;
use shared::api::AgentSaid;
use shared::conf::secret::{MASK, is_secret};

use super::installed::provider_and_agent;
use super::kept::Told;
use crate::agent::process::{ProcessError, Run};
use crate::secrets::Resolved;

/// An agent prints its metadata within 0.3 s here; a hanging one must not be waited for long.
const METADATA_WAIT: Duration = Duration::from_secs(10);
/// What the agents themselves advise for validate-all is 5 to 20 s.
const VALIDATE_WAIT: Duration = Duration::from_secs(20);
const SAID_MAX_CHARS: usize = 16 * 1024;
/// Quoted of an agent that failed.
const COMPLAINT_MAX_CHARS: usize = 200;

fn environment(ocf_root: &Path, name: &str) -> Vec<(String, OsString)> {
    let (provider, agent) = provider_and_agent(name).unwrap_or(("", name));
    let variables: [(&str, OsString); 11] = [
        ("OCF_ROOT", ocf_root.into()),
        ("OCF_RA_VERSION_MAJOR", "1".into()),
        ("OCF_RA_VERSION_MINOR", "1".into()),
        ("OCF_RESOURCE_TYPE", agent.into()),
        ("OCF_RESOURCE_PROVIDER", provider.into()),
        ("OCF_RESOURCE_INSTANCE", "asked".into()),
        // Compared as a number by agents that look deeper on demand.
        ("OCF_CHECK_LEVEL", "0".into()),
        ("OCF_RESKEY_CRM_meta_timeout", VALIDATE_WAIT.as_millis().to_string().into()),
        ("OCF_RESKEY_CRM_meta_interval", "0".into()),
        ("HA_debug", "0".into()),
        ("HA_LOGFACILITY", "none".into()),
    ];
    variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn borrowed(environment: &[(String, OsString)]) -> Vec<(&str, OsString)> {
    environment.iter().map(|(name, value)| (name.as_str(), value.clone())).collect()
}

/// What the agent says of itself.
pub(super) async fn metadata(ocf_root: &Path, class: AgentClass, name: &str, path: &Path) -> Result<Told, String> {
    let environment = environment(ocf_root, name);
    let environment = borrowed(&environment);
    let (arguments, environment): (&[&str], &[_]) = match class {
        AgentClass::Resource => (&["meta-data"], &environment),
        AgentClass::Fence => (&["-o", "metadata"], &[]),
    };
    let run = Run { program: path, arguments, environment, stdin: b"", wait: METADATA_WAIT };
    let ended = run.end().await.map_err(|error| shared::chain(&error))?;
    Told::read(class, ended.stdout).map_err(|why| {
        let said: String = ended.stderr.trim().chars().take(COMPLAINT_MAX_CHARS).collect();
        format!("{why} (exit status {:?}) {said}", ended.code).trim_end().to_owned()
    })
}

/// The agent's own judgement of parameters.
pub(super) async fn validate(
    ocf_root: &Path,
    name: &str,
    path: &Path,
    parameters: &Resolved,
) -> Result<AgentSaid, ProcessError> {
    let Resolved { arguments: parameters, secrets } = parameters;
    let mut environment = environment(ocf_root, name);
    for (name, value) in parameters {
        environment.push((format!("OCF_RESKEY_{name}"), value.into()));
    }
    let environment = borrowed(&environment);
    let run =
        Run { program: path, arguments: &["validate-all"], environment: &environment, stdin: b"", wait: VALIDATE_WAIT };
    match run.end().await {
        Ok(ended) => Ok(AgentSaid {
            code: ended.code,
            output: mask(&format!("{}{}", ended.stdout, ended.stderr), parameters, secrets)
                .chars()
                .take(SAID_MAX_CHARS)
                .collect(),
            duration_ms: u64::try_from(ended.duration.as_millis()).unwrap_or(u64::MAX),
        }),
        Err(ProcessError::TooSlow { seconds, .. }) => Ok(AgentSaid {
            code: None,
            output: format!("no answer within {seconds} seconds; killed"),
            duration_ms: seconds * 1000,
        }),
        Err(error) => Err(error),
    }
}

/// Replaces every value whose name sounds secret and every one that stood in a file, longest first, so that one inside
/// another leaves no rest.
pub(in crate::agent) fn mask(output: &str, arguments: &[(String, String)], referred: &[String]) -> String {
    let mut values: Vec<&str> = arguments
        .iter()
        .filter(|(name, value)| is_secret(name) && !value.is_empty())
        .map(|(_, value)| value.as_str())
        .chain(referred.iter().map(String::as_str))
        .collect();
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    values.iter().fold(output.to_owned(), |text, value| text.replace(value, MASK))
}
