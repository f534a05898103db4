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
use shared::agents::metadata::{self, AgentClass, AgentSchema};
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AgentTimes {
    schema: Arc<AgentSchema>,
}

impl AgentTimes {
    /// For an operation at a depth; else for the operation at all.
    pub(super) fn timeout_ms(&self, operation: Operation, depth: u32) -> Option<u64> {
        self.schema.timeout_ms(operation.name(), depth)
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
        How::Exited(0) => read_times(&ended.output),
        How::Exited(code) => Err(format!("exit code {code}")),
        How::TimedOut => Err(format!("no answer within {} s", METADATA_DEADLINE.as_secs())),
        How::Signalled(_) | How::Aborted | How::NotStarted(_) => Err("it could not be run".into()),
    }
}

fn read_times(output: &str) -> Result<AgentTimes, String> {
    let schema = metadata::parse(AgentClass::Resource, output).map_err(|error| error.to_string())?;
    Ok(AgentTimes { schema: Arc::new(schema) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_by_operation_and_depth() {
        let times = read_times(
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
            assert!(read_times(output).is_err(), "{output}");
        }
    }
}
