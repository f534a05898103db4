//! Every agent that this machine's packages install, through ricci: it is listed, its schema is read, and what cannot be
//! used is named with the agent's own reason. The table in the output is the record of it.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "the table is what this test is read for")]

mod agent_support;

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;

use agent_support::{Manager, Node};
use shared::agents::metadata::AgentClass;
use shared::agents::metadata::{AgentSchema, ParameterType, check, parse};
use shared::api::AgentSummary;

#[derive(Default)]
struct Counts {
    agents: usize,
    read: usize,
    promotable: usize,
    parameters: usize,
    secrets: usize,
    required: usize,
    by_type: BTreeMap<&'static str, usize>,
    remarks: Vec<String>,
    impossible: Vec<String>,
}

fn type_name(kind: &ParameterType) -> &'static str {
    match kind {
        ParameterType::String => "string",
        ParameterType::Integer { .. } => "integer",
        ParameterType::Boolean => "boolean",
        ParameterType::Seconds => "seconds",
        ParameterType::Select { .. } => "select",
    }
}

async fn count(node: &Node, manager: &Manager, class: &str) -> Counts {
    let mut counts = Counts::default();
    let list = manager.json(node, &format!("/v1/agents/{class}")).await;
    for agent in serde_json::from_value::<Vec<AgentSummary>>(list).unwrap() {
        counts.agents += 1;
        let response = manager.get(node, &format!("/v1/agents/{class}/{}/schema", agent.name)).await;
        let status = response.status();
        let body = response.text().await.unwrap();
        if !status.is_success() {
            counts.impossible.push(format!("{}: {body}", agent.name));
            continue;
        }
        let schema: AgentSchema = serde_json::from_str(&body).unwrap();
        counts.read += 1;
        counts.promotable += usize::from(schema.promotable);
        counts.impossible.extend(schema.impossible().map(|why| format!("{}: {why}", agent.name)));
        counts.remarks.extend(
            schema.remarks.iter().map(|remark| {
                format!("{} {}: {}", agent.name, remark.parameter.as_deref().unwrap_or("-"), remark.text)
            }),
        );
        // With nothing given, exactly what is required is complained about.
        let required: Vec<&str> =
            schema.parameters.iter().filter(|known| known.required).map(|known| known.name.as_str()).collect();
        let missing = check(&schema, &[]);
        let missing: Vec<&str> = missing.iter().map(|complaint| complaint.parameter.as_str()).collect();
        assert_eq!(missing, required, "{}", agent.name);
        for parameter in &schema.parameters {
            counts.parameters += 1;
            counts.secrets += usize::from(parameter.secret);
            counts.required += usize::from(parameter.required);
            *counts.by_type.entry(type_name(&parameter.kind)).or_default() += 1;
        }
    }
    counts
}

#[tokio::test]
async fn every_packaged_agent_has_a_schema() {
    let mut node = Node::prepare();
    for (ours, packaged) in [("ocf", "/usr/lib/ocf"), ("fence", "/usr/sbin")] {
        std::fs::remove_dir_all(node.path(ours)).unwrap();
        symlink(packaged, node.path(ours)).unwrap();
    }
    node.run();
    let manager = node.paired().await;
    let mut totals = Vec::new();
    for class in ["resource", "fence"] {
        let counts = count(&node, &manager, class).await;
        println!(
            "{class} agents: {} installed, {} schemas, {} promotable; {} parameters ({} required, {} secret): {:?}",
            counts.agents,
            counts.read,
            counts.promotable,
            counts.parameters,
            counts.required,
            counts.secrets,
            counts.by_type
        );
        println!("  impossible by their own metadata: {}", counts.impossible.len());
        counts.impossible.iter().for_each(|line| println!("    {line}"));
        println!("  against the standard, and understood: {}", counts.remarks.len());
        counts.remarks.iter().for_each(|line| println!("    {line}"));
        totals.push(counts);
    }
    let [resource, fence] = totals.try_into().ok().unwrap();
    assert!(resource.agents >= 100, "install resource-agents: only {} are there", resource.agents);
    assert!(fence.agents >= 50, "install fence-agents: only {} are there", fence.agents);
    // All of Debian's can be read; one that cannot is a gap of ours or a broken package, and is worth a look.
    assert_eq!((resource.read, fence.read), (resource.agents, fence.agents));
}

#[test]
fn what_is_printed_beside_the_metadata_does_no_harm() {
    let noisy = "WARNING: no module\n<?xml version=\"1.0\" ?>\n<resource-agent name=\"x\"/>\n";
    assert_eq!(parse(AgentClass::Fence, noisy).unwrap().name, "x");
}
