//! `clustat --why`: the engine's own explanation of one service, as text or JSON.

use std::fmt::Write as _;

use shared::ids::ServiceName;
use shared::socket::{Ask, Reply};
use shared::text::ServiceState;
use shared::why::{Explanation, Outcome, Test, Verdict};

use super::LIMIT;
use crate::cli::client::{Client, socket_path};
use crate::cli::console::{complain, print};
use crate::cli::likeness::closest_service;

/// No answer, or no such service or node.
const EXIT_UNKNOWN: u8 = 255;

/// Explains a service and returns the exit code: 0 if it runs or is on its way, 1 if not, 255 if nothing is known.
pub(super) fn show(service: &str, node: Option<&str>, json: bool) -> u8 {
    let name = ServiceName::parse(service);
    let ask = Ask::Explain { service: name.clone() };
    let mut client = match Client::connect(&socket_path(), LIMIT) {
        Ok(client) => client,
        Err(error) => return refuse(&shared::chain(&error)),
    };
    let mut explanation = match client.ask(&ask, LIMIT) {
        Ok(Reply::Explanation { explanation }) => *explanation,
        Ok(Reply::Error { text }) => return refuse(&format!("{text}{}", meant(&mut client, &name))),
        Ok(_) => return refuse("rgmanager answered another question; are both of the same release?"),
        Err(error) => return refuse(&shared::chain(&error)),
    };
    if let Some(node) = node {
        if explanation.nodes.iter().all(|known| known.node.as_str() != node) {
            let known: Vec<&str> = explanation.nodes.iter().map(|known| known.node.as_str()).collect();
            return refuse(&format!("there is no node '{node}'; nodes are {}", known.join(", ")));
        }
        explanation.nodes.retain(|known| known.node.as_str() == node);
    }
    if json {
        match serde_json::to_string_pretty(&explanation) {
            Ok(text) => print(&format!("{text}\n")),
            Err(error) => return refuse(&format!("cannot write the explanation as JSON: {error}")),
        }
    } else {
        print(&render(&explanation));
    }
    u8::from(!matches!(explanation.state, ServiceState::Starting | ServiceState::Started | ServiceState::Migrating))
}

/// Which service may have been meant, if there is none of this name.
fn meant(client: &mut Client, name: &ServiceName) -> String {
    let Ok(Reply::Status { status }) = client.ask(&Ask::Status, LIMIT) else { return String::new() };
    if status.service(name).is_some() {
        return String::new();
    }
    let one = closest_service(name, status.services.iter().map(|service| &service.name));
    one.map(|one| format!("; closest match: '{one}'")).unwrap_or_default()
}

fn refuse(sentence: &str) -> u8 {
    complain(&format!("clustat: {sentence}"));
    EXIT_UNKNOWN
}

fn render(explanation: &Explanation) -> String {
    let Explanation { service, state, owner, reason, tests, nodes } = explanation;
    let place = owner.as_ref().map(|owner| format!(" on {owner}")).unwrap_or_default();
    // Writing to a String cannot fail.
    let mut text = format!("{service} is {}{place}: {}\n", state.name(), reason.text());
    render_tests(&mut text, tests);
    for node in nodes {
        let verdict = match node.verdict {
            Verdict::Owner => "has it".to_owned(),
            Verdict::Candidate { rank: 1 } => "would be the next".to_owned(),
            Verdict::Candidate { rank } => format!("would be number {rank}"),
            Verdict::MayNot => "may not have it".to_owned(),
        };
        let _ = write!(text, "\n{} {verdict}\n", node.node);
        render_tests(&mut text, &node.tests);
    }
    text
}

fn render_tests(text: &mut String, tests: &[Test]) {
    for test in tests {
        let mark = match test.outcome() {
            Outcome::Passes => "yes",
            Outcome::Blocks => "NO",
            Outcome::Told => "-",
            Outcome::Unknown => "?",
        };
        let _ = writeln!(text, "  {mark:<4}{:<13} {}", test.name(), test.text());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::ids::NodeName;
    use shared::placement::{Judgement, Level, Why};
    use shared::status::Reason;
    use shared::why::NodeExplanation;

    #[test]
    fn every_test_stands_on_a_line_with_its_verdict_and_its_evidence() {
        let explanation = Explanation {
            service: ServiceName::parse("web"),
            state: ServiceState::Recoverable,
            owner: None,
            reason: Reason::NodeLost { node: NodeName("node1".into()) },
            tests: vec![
                Test::Quorate { quorate: Some(true), votes: Some(2), votes_expected: Some(3) },
                Test::AllFenced { waits_for: vec![NodeName("node1".into())] },
            ],
            nodes: vec![NodeExplanation {
                node: NodeName("node2".into()),
                verdict: Verdict::Candidate { rank: 1 },
                tests: vec![
                    Test::Domain { judgement: Judgement { level: Level::Best, why: Why::NoDomain } },
                    Test::Load { services: 1 },
                ],
            }],
        };
        let expected = "\
service:web is recoverable: node1 was lost
  yes quorate       the cluster is quorate (2 of 3 votes)
  NO  all fenced    node1 is lost and not known to be down; it is fenced first (see fence_tool ls; if you know that it is down: fence_ack_manual)

node2 would be the next
  yes domain        BEST: the service has no failover domain: every node is as good
  -   load          holds 1 other service
";
        assert_eq!(render(&explanation), expected);
    }
}
