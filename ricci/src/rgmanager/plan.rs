//! From a run that the engine wants to what the runner needs: agent, parameters, timeout, interval.
//!
//! Called by the driver before each run. The mapping of types is `shared::agents::mapping`'s, the times come from
//! cluster.conf's `<action>`, else from the agent's own metadata, else from a table. Runs nothing itself.

use engine::{Operation, Run, RunId};
use shared::agents::mapping::{self, DEFAULT_TIMES, MappingError};
use shared::conf::model::Resource;

use super::agents::{RunFinished, RunSpec, Runner};
use super::times::Times;

/// OCF's number for "is configured wrongly".
const OCF_ERR_CONFIGURED: i32 = 6;
/// OCF's number for "is not installed".
const OCF_ERR_INSTALLED: i32 = 5;

/// What VirtualDomain advises is a minute; guests with much memory take longer.
const MIGRATE_TIMEOUT_MS: u64 = 300_000;

/// What is to be run; `Err`: the result of a run that cannot be tried. `probing`: the daemon finds out what runs here.
pub(super) fn plan(id: RunId, run: &Run, probing: bool, times: &Times) -> Result<RunSpec, RunFinished> {
    let resource = &run.resource;
    let mapped = mapping::map(resource).map_err(|error| unmapped(id, run, &error))?;
    let declared = declared(resource, run.operation, run.depth, times.of(&mapped.runner.name()));
    let runner = match mapped.runner {
        mapping::Runner::Ocf { provider, agent } => Runner::Ocf { provider, kind: agent },
        mapping::Runner::Lsb { script } => Runner::Script { path: script.into() },
        mapping::Runner::Systemd { unit } => Runner::Systemd { unit },
        mapping::Runner::Builtin => Runner::Grouping,
    };
    let is_check = run.operation == Operation::Monitor && !probing;
    Ok(RunSpec {
        id,
        service: run.service.clone(),
        resource: resource.name.clone(),
        operation: run.operation,
        runner,
        parameters: mapped.parameters,
        timeout_ms: (!resource.isolation.timeouts_unenforced).then_some(declared.timeout_ms),
        timeout_told_ms: declared.timeout_ms,
        interval_ms: if is_check { declared.interval_ms } else { 0 },
        depth: run.depth,
        peer: run.peer.as_ref().map(|peer| peer.0.clone()),
        // A probe asks whether it runs here, a stop only whether it is gone.
        link_of: mapping::monitored_link(resource).filter(|_| is_check || run.operation == Operation::Start),
    })
}

/// What has no agent today can neither be started nor run: a stop of it has nothing to do.
fn unmapped(id: RunId, run: &Run, error: &MappingError) -> RunFinished {
    let code = if run.operation == Operation::Start { OCF_ERR_CONFIGURED } else { OCF_ERR_INSTALLED };
    RunFinished {
        id,
        service: run.service.clone(),
        resource: run.resource.name.clone(),
        operation: run.operation,
        code: Some(code),
        output: error.to_string(),
        duration_ms: 0,
        timed_out: false,
    }
}

/// Timeout and interval of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Declared {
    timeout_ms: u64,
    interval_ms: u64,
}

fn declared(
    resource: &Resource,
    operation: Operation,
    depth: u32,
    advised: Option<&super::times::AgentTimes>,
) -> Declared {
    let table = match operation {
        Operation::Start => DEFAULT_TIMES.start_timeout_ms,
        Operation::Stop => DEFAULT_TIMES.stop_timeout_ms,
        Operation::Monitor => DEFAULT_TIMES.monitor_timeout_ms,
        // A guest's memory goes over the network; the agent's own advice, or cluster.conf's, says how long that may take.
        Operation::MigrateTo | Operation::MigrateFrom => MIGRATE_TIMEOUT_MS,
    };
    let advised_ms = advised.and_then(|advised| advised.timeout_ms(operation, depth));
    let mut declared =
        Declared { timeout_ms: advised_ms.unwrap_or(table), interval_ms: DEFAULT_TIMES.monitor_interval_ms };
    // An override for every depth first, one for this very depth over it.
    for exact in [false, true] {
        let fitting = resource
            .actions
            .iter()
            .filter(|action| is_named(&action.name, operation) && action.depth.is_some() == exact)
            .filter(|action| action.depth.is_none_or(|for_depth| for_depth == depth));
        for action in fitting {
            declared.timeout_ms = action.timeout_ms.unwrap_or(declared.timeout_ms);
            declared.interval_ms = action.interval_ms.unwrap_or(declared.interval_ms);
        }
    }
    declared
}

/// `status` is what cluster.conf of old calls the check.
fn is_named(name: &str, operation: Operation) -> bool {
    name == operation.name() || (operation == Operation::Monitor && name == "status")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shared::conf::model::{ActionOverride, Isolation};
    use shared::ids::{ResourceName, ServiceName};

    use super::*;

    fn run(kind: &str, attributes: &[(&str, &str)], operation: Operation) -> Run {
        let attributes: BTreeMap<String, String> =
            attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Run {
            service: ServiceName::parse("web"),
            resource: Resource {
                name: ResourceName(format!("{kind}:x")),
                kind: kind.into(),
                attributes,
                isolation: Isolation::default(),
                actions: Vec::new(),
                children: Vec::new(),
            },
            operation,
            depth: 0,
            peer: None,
        }
    }

    #[test]
    fn an_address_becomes_a_run_of_ipaddr2() {
        let run = run("ip", &[("address", "10.0.0.1/24")], Operation::Start);
        let spec = plan(RunId(1), &run, false, &Times::default()).unwrap();
        assert_eq!(spec.runner, Runner::Ocf { provider: "heartbeat".into(), kind: "IPaddr2".into() });
        assert_eq!(spec.parameters.get("ip").map(String::as_str), Some("10.0.0.1"));
        assert_eq!(spec.timeout_ms, Some(DEFAULT_TIMES.start_timeout_ms));
    }

    #[test]
    fn the_timeout_of_cluster_conf_wins_and_the_one_for_the_very_depth_wins_most() {
        let action = |depth, timeout_ms| ActionOverride {
            name: "status".into(),
            depth,
            interval_ms: Some(3_000),
            timeout_ms: Some(timeout_ms),
        };
        let mut run = run("ip", &[("address", "10.0.0.1/24")], Operation::Monitor);
        run.resource.actions = vec![action(Some(10), 7_000), action(None, 5_000)];
        let planned = |run: &Run, probing| plan(RunId(1), run, probing, &Times::default()).unwrap();
        assert_eq!(planned(&run, false).timeout_ms, Some(5_000));
        assert_eq!(planned(&run, false).interval_ms, 3_000);
        assert_eq!(planned(&run, true).interval_ms, 0);
        run.depth = 10;
        assert_eq!(planned(&run, false).timeout_ms, Some(7_000));
        run.resource.isolation.timeouts_unenforced = true;
        assert_eq!(planned(&run, false).timeout_ms, None);
        assert_eq!(planned(&run, false).timeout_told_ms, 7_000);
    }

    #[test]
    fn a_type_without_agent_cannot_be_started_but_is_stopped() {
        let code = |operation| {
            plan(RunId(1), &run("condor", &[("name", "c")], operation), false, &Times::default()).unwrap_err().code
        };
        assert_eq!(code(Operation::Start), Some(6));
        assert_eq!(code(Operation::Stop), Some(5));
        assert_eq!(code(Operation::Monitor), Some(5));
    }
}
