//! Every agent that this machine's packages install, through ricci: it is listed, its schema is read, and what cannot be
//! used is named with the agent's own reason. The table in the output is the record of it.

#![expect(clippy::print_stdout, reason = "the table is what this test is read for")]

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;

use crate::support::{Manager, Node};
use shared::agents::metadata::AgentClass;
use shared::agents::metadata::{AgentSchema, ParameterType, check, parse};
use shared::api::{AgentSaid, AgentSummary, FenceTest, FenceTestAction, FenceTested, Validated, path};

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
    /// What `validate-all` with the defaults came to, and how often.
    validated: BTreeMap<String, usize>,
    unvalidated: Vec<String>,
}

impl Counts {
    fn note_validation(&mut self, name: &str, validated: Validated) {
        let word = match &validated.said {
            None => "offers none".to_owned(),
            Some(AgentSaid { code: None, .. }) => "no answer".to_owned(),
            Some(AgentSaid { code: Some(code), .. }) => format!("{code} ({})", shared::text::ocf_meaning(*code)),
        };
        if validated.said.as_ref().is_none_or(|said| said.code.is_none()) {
            self.unvalidated.push(format!("{name}: validate-all {word}"));
        }
        *self.validated.entry(word).or_default() += 1;
    }

    fn note_test(&mut self, name: &str, tested: Option<FenceTested>) {
        let word = match &tested {
            None => "offers none".to_owned(),
            Some(FenceTested { code: None, .. }) => "no answer".to_owned(),
            Some(FenceTested { code: Some(code), .. }) => format!("exit {code}"),
        };
        if tested.as_ref().is_none_or(|tested| !tested.succeeded) {
            let said = tested.map(|tested| tested.output).unwrap_or_default();
            let reason = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
            self.unvalidated.push(format!("{name}: validate-all {word} {reason}"));
        }
        *self.validated.entry(word).or_default() += 1;
    }
}

/// Has a fence agent judge arguments as for a device on this machine; it touches none. `None`: its metadata offers no such action.
async fn try_fence(node: &Node, manager: &Manager, name: &str, schema: &AgentSchema) -> Option<FenceTested> {
    schema.actions.iter().find(|action| action.name == "validate-all")?;
    let usual = ["ip", "username", "password", "plug"];
    let wanted = schema.parameters.iter().filter(|known| known.required || usual.contains(&known.name.as_str()));
    let arguments = wanted.filter(|known| !["action", "option"].contains(&known.name.as_str()));
    let arguments = arguments.map(|known| {
        let value = if known.name == "ip" { "127.0.0.1" } else { "1" };
        (known.name.clone(), value.to_owned())
    });
    let test =
        FenceTest { agent: name.to_owned(), arguments: arguments.collect(), action: FenceTestAction::ValidateAll };
    let response = manager.post(node, path::FENCE_TEST, &serde_json::to_value(test).unwrap()).await;
    assert!(response.status().is_success(), "{name}: {}", response.text().await.unwrap());
    Some(response.json().await.unwrap())
}

/// Has an agent judge its own defaults, with a word for each required parameter that has none.
async fn validate(node: &Node, manager: &Manager, name: &str, schema: &AgentSchema) -> Validated {
    let required = schema.parameters.iter().filter(|known| known.required);
    let given: Vec<(&str, &str)> = required.map(|known| (known.name.as_str(), "1")).collect();
    let body = serde_json::json!({ "parameters": given });
    let response = manager.post(node, &format!("/v1/agents/resource/{name}/validate"), &body).await;
    assert!(response.status().is_success(), "{name}: {}", response.text().await.unwrap());
    response.json().await.unwrap()
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
        if class == "resource" {
            counts.note_validation(&agent.name, validate(node, manager, &agent.name, &schema).await);
        } else {
            counts.note_test(&agent.name, try_fence(node, manager, &agent.name, &schema).await);
        }
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
        println!("  validate-all run: {:?}", counts.validated);
        counts.unvalidated.iter().for_each(|line| println!("    {line}"));
        // Every one that offers it was run to its end: none hangs, none could not be run.
        assert!(!counts.validated.contains_key("no answer"), "{:?}", counts.unvalidated);
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
