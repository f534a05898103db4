//! The timeouts that agents advise for their operations, read from their metadata in the background.
//!
//! The driver asks for them when a configuration comes into force and hands them to `plan`. Until they are known,
//! and for an agent whose metadata is slow or broken, the table of `shared::agents::mapping` counts; nothing ever
//! waits for them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use engine::Operation;
use shared::agents::mapping::{self, Runner};
use shared::conf::Document;
use shared::conf::model::{Conf, Resource};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::agents::Places;
use super::process::{self, How, Program};

/// For one agent to print its metadata; what the agents themselves advise for it.
const METADATA_DEADLINE: Duration = Duration::from_secs(5);

/// Agents asked at the same time, so that a start of the daemon with many types does not crowd out its probes.
const ASKED_AT_ONCE: usize = 2;

/// What is known, by the name of the runner (`ocf:heartbeat:IPaddr2`).
#[derive(Debug, Clone, Default)]
pub(super) struct Times {
    agents: Arc<BTreeMap<String, AgentTimes>>,
}

/// One agent's advice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct AgentTimes {
    /// Operation, depth, timeout, in the order of the metadata.
    timeouts: Vec<(Operation, u32, u64)>,
}

impl AgentTimes {
    /// For an operation at a depth; else for the operation at all.
    pub(super) fn timeout_ms(&self, operation: Operation, depth: u32) -> Option<u64> {
        let of_operation = || self.timeouts.iter().filter(|(known, _, _)| *known == operation);
        let exact = of_operation().find(|(_, for_depth, _)| *for_depth == depth);
        exact.or_else(|| of_operation().next()).map(|(_, _, timeout_ms)| *timeout_ms)
    }
}

impl Times {
    /// The advice of one agent.
    pub(super) fn of(&self, runner: &str) -> Option<&AgentTimes> {
        self.agents.get(runner)
    }

    /// Asks every agent that the configuration needs.
    pub(super) async fn ask(conf: &Conf, places: &Places) -> Self {
        let mut runners = BTreeSet::new();
        for service in &conf.services {
            for resource in shared::tree::start_order(service) {
                runners.extend(ocf_runner(resource));
            }
        }
        let few = Arc::new(Semaphore::new(ASKED_AT_ONCE));
        let mut asked = JoinSet::new();
        for (provider, agent) in runners {
            let (places, few) = (places.clone(), Arc::clone(&few));
            asked.spawn(async move {
                let _place = few.acquire().await;
                let times = ask_agent(&places, &provider, &agent).await;
                (Runner::Ocf { provider, agent }.name(), times)
            });
        }
        let mut agents = BTreeMap::new();
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok((name, Ok(times))) => {
                    agents.insert(name, times);
                }
                Ok((name, Err(why))) => {
                    tracing::warn!("metadata of {name} cannot be had ({why}); default timeouts are used for it");
                }
                Err(error) => tracing::error!("reading metadata broke: {error}"),
            }
        }
        Self { agents: Arc::new(agents) }
    }
}

fn ocf_runner(resource: &Resource) -> Option<(String, String)> {
    match mapping::map(resource).ok()?.runner {
        Runner::Ocf { provider, agent } => Some((provider, agent)),
        Runner::Lsb { .. } | Runner::Systemd { .. } | Runner::Builtin => None,
    }
}

async fn ask_agent(places: &Places, provider: &str, agent: &str) -> Result<AgentTimes, String> {
    let path = places.ocf_root.join("resource.d").join(provider).join(agent);
    if !path.exists() {
        return Err("it is not installed on this node".into());
    }
    let mut environment = super::agents::essentials();
    environment.push(("OCF_ROOT".into(), places.ocf_root.to_string_lossy().into_owned()));
    let program = Program {
        path,
        arguments: vec![OsString::from("meta-data")],
        environment,
        stdin: None,
        timeout: Some(METADATA_DEADLINE),
    };
    let ended = process::run(program, CancellationToken::new()).await;
    match ended.how {
        How::Exited(0) => parse_times(&ended.output),
        How::Exited(code) => Err(format!("exit code {code}")),
        How::TimedOut => Err(format!("no answer within {} s", METADATA_DEADLINE.as_secs())),
        How::Signalled(_) | How::Aborted | How::NotStarted(_) => Err("it could not be run".into()),
    }
}

/// The `<actions>` of OCF metadata. Something an agent printed before the XML (a warning) is passed over.
fn parse_times(output: &str) -> Result<AgentTimes, String> {
    let from = output.find("<?xml").or_else(|| output.find("<resource-agent")).ok_or("it printed no XML")?;
    let (document, findings) = Document::parse(&output[from..]);
    let actions = document.select("/resource-agent/actions/action");
    if actions.is_empty() {
        let why = findings.first().map_or("it names no actions", |finding| finding.text.as_str());
        return Err(why.to_owned());
    }
    let timeouts = actions.into_iter().filter_map(|action| {
        let operation = match document.attribute(action, "name")? {
            "start" => Operation::Start,
            "stop" => Operation::Stop,
            "monitor" => Operation::Monitor,
            _ => return None,
        };
        let depth = document.attribute(action, "depth").and_then(|depth| depth.parse().ok()).unwrap_or(0);
        Some((operation, depth, parse_timeout_ms(document.attribute(action, "timeout")?)?))
    });
    Ok(AgentTimes { timeouts: timeouts.collect() })
}

/// `20`, `20s`, `20000ms`, `2m`, `2min`, `1h`.
fn parse_timeout_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let factor = match text[digits..].trim() {
        "" | "s" | "sec" => 1_000,
        "ms" | "msec" => 1,
        "m" | "min" => 60_000,
        "h" | "hr" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(factor).filter(|timeout_ms| *timeout_ms > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_by_operation_and_depth() {
        let times = parse_times(
            "a warning\n<?xml version=\"1.0\"?>\n<!DOCTYPE resource-agent SYSTEM \"ra-api-1.dtd\">\n\
             <resource-agent name=\"x\"><actions><action name=\"start\" timeout=\"60s\"/>\
             <action name=\"monitor\" depth=\"0\" timeout=\"20\"/><action name=\"monitor\" depth=\"10\" timeout=\"1min\"/>\
             <action name=\"meta-data\" timeout=\"5s\"/></actions></resource-agent>",
        )
        .unwrap();
        assert_eq!(times.timeout_ms(Operation::Start, 0), Some(60_000));
        assert_eq!(times.timeout_ms(Operation::Monitor, 10), Some(60_000));
        assert_eq!(times.timeout_ms(Operation::Monitor, 20), Some(20_000));
        assert_eq!(times.timeout_ms(Operation::Stop, 0), None);
    }

    #[test]
    fn an_agent_that_prints_no_metadata_is_told_apart() {
        for output in ["", "usage: x", "<?xml version=\"1.0\"?><resource-agent", "<?xml version=\"1.0\"?><other/>"] {
            assert!(parse_times(output).is_err(), "{output}");
        }
    }

    #[test]
    fn a_timeout_of_nothing_is_none() {
        assert_eq!(parse_timeout_ms("0"), None);
        assert_eq!(parse_timeout_ms("1500ms"), Some(1_500));
        assert_eq!(parse_timeout_ms("2x"), None);
    }
}
