//! What the agents of a node say of a configuration: refusals with resource, parameter and words; and whatever keeps an
//! agent from answering costs its own judgement only.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ricci::judge::judge;
use ricci::secrets::Secrets;
use shared::conf::{Finding, Severity};

use crate::never::Never;

/// What an agent with one number, one secret and `validate-all` prints for `meta-data`.
const METADATA: &str = r#"meta-data) echo '<resource-agent name="x"><parameters><parameter name="port"><content type="integer"/></parameter><parameter name="password"><content type="string"/></parameter></parameters><actions><action name="start"/><action name="stop"/><action name="monitor"/><action name="validate-all"/></actions></resource-agent>'; exit 0;;"#;

/// One test after the other: deadlines of agents are at stake, and one test keeps the processors busy.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

struct Agents(tempfile::TempDir);

impl Agents {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn put(&self, name: &str, body: &str) {
        let path = self.root().join("resource.d/test").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let body = body.replace("DIR", self.root().to_str().unwrap());
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// An agent with good metadata whose `validate-all` is this.
    fn judging(&self, name: &str, body: &str) {
        self.put(name, &format!("case $1 in {METADATA} esac\n{body}"));
    }

    async fn judge(&self, agents: &[(&str, &str)], present: Option<&str>) -> Vec<Finding> {
        let secrets = Secrets::beside(&self.root().join("cluster.conf"));
        judge(self.root(), &secrets, &conf(agents), present).await
    }

    /// Severity, rule and text of each finding.
    async fn told(&self, agents: &[(&str, &str)]) -> Vec<String> {
        let found = self.judge(agents, None).await;
        found.iter().map(|finding| format!("{:?} {}: {}", finding.severity, finding.rule, finding.text)).collect()
    }
}

/// A service for each agent with these attributes.
fn conf(agents: &[(&str, &str)]) -> String {
    let services: Vec<String> = agents
        .iter()
        .map(|(agent, attributes)| {
            format!("<service name=\"{agent}\"><ocf name=\"{agent}\" provider=\"test\" type=\"{agent}\" {attributes}/></service>\n")
        })
        .collect();
    format!(
        "<cluster name=\"c\" config_version=\"1\"><clusternodes><clusternode name=\"a\" nodeid=\"1\"/></clusternodes><rm>\n{}</rm></cluster>",
        services.concat()
    )
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_the_resource_the_parameter_and_the_agents_words() {
    let _alone = ALONE.lock().await;
    let agents = Agents::new();
    agents.judging("Strict", "echo \"port $OCF_RESKEY_port is for root, not for $OCF_RESKEY_password\" >&2; exit 2");
    agents.judging("Content", "[ \"$1\" = validate-all ] && [ \"$OCF_CHECK_LEVEL\" = 0 ] && exit 0; exit 2");
    let told = agents.told(&[("Strict", "port=\"17\" password=\"geheim\""), ("Content", "port=\"x\"")]).await;
    assert_eq!(
        told,
        [
            "Error agent-refuses: ocf:test:Strict refuses ocf:Strict of service:Strict (validate-all returned 2, invalid \
             argument(s)): \"port 17 is for root, not for (secret)\"; it speaks of password=(secret), port=17",
            "Error agent-parameter: ocf:test:Content cannot run ocf:Content of service:Content like this: port=\"x\" cannot be \
             right: give a whole number",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_judges_the_secret_and_not_its_name_and_the_finding_tells_neither_value() {
    let _alone = ALONE.lock().await;
    let agents = Agents::new();
    agents.judging(
        "Strict",
        "[ \"$OCF_RESKEY_password\" = geheim ] && exit 0; echo \"not $OCF_RESKEY_password\"; exit 2",
    );
    let secrets = Secrets::beside(&agents.root().join("cluster.conf"));
    let asked = [("Strict", "password=\"secret:web-1\"")];
    let told = agents.told(&asked).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("Warning") && told[0].contains("web-1"), "{told:?}");
    secrets.write("web-1", "geheim").unwrap();
    assert_eq!(agents.told(&asked).await, Vec::<String>::new());
    secrets.write("web-2", "sesam").unwrap();
    let told = agents.told(&[("Strict", "password=\"secret:web-2\"")]).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("Error agent-refuses") && !told[0].contains("sesam"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_cannot_answer_is_a_warning_with_the_reason_and_delays_nobody() {
    let _alone = ALONE.lock().await;
    let agents = Agents::new();
    // It reads a pipe that nobody ever writes.
    let _never = Never::at(agents.root().join("never"));
    agents.put("HangsAtOnce", "trap '' TERM; cat DIR/never");
    agents.judging("Hangs", "cat DIR/never");
    agents.judging("Forks", "(cat DIR/never) & echo forked; exit 0");
    agents.judging("Floods", "head -c 104857600 /dev/zero | tr '\\0' x; echo; echo the end; exit 2");
    agents.judging("Odd", "echo odd; exit 255");
    agents.judging("Vanishes", "rm \"$0\"; exit 0");
    agents.judging("Killed", "kill -9 $$");
    agents.put("NoXml", "echo usage: me");
    agents.put("Silent", "exit 1");
    agents
        .put("Plain", "echo '<resource-agent name=\"x\"><actions><action name=\"start\"/></actions></resource-agent>'");
    let before = peak_kib();
    let names =
        ["HangsAtOnce", "Hangs", "Forks", "Floods", "Odd", "Vanishes", "Killed", "NoXml", "Silent", "Plain", "Missing"];
    let told = agents.told(&names.map(|name| (name, ""))).await.join("\n");
    for expected in [
        "Warning agent-not-asked: ocf:test:HangsAtOnce tells nothing of itself (no answer within 4s; it was killed), so that nobody has judged ocf:HangsAtOnce of service:HangsAtOnce",
        "Warning agent-not-asked: ocf:test:Hangs gave no judgement of ocf:Hangs of service:Hangs: no answer within 4s; it was killed",
        "Error agent-refuses: ocf:test:Floods refuses ocf:Floods of service:Floods (validate-all returned 2, invalid argument(s)): \"the end\"; it was given no parameter",
        "Warning agent-refuses: ocf:test:Odd is not content with ocf:Odd of service:Odd (validate-all returned 255, unknown): \"odd\"; it was given no parameter",
        "Warning agent-not-asked: ocf:test:Killed gave no judgement of ocf:Killed of service:Killed: it was killed by signal 9",
        "Warning agent-not-asked: ocf:test:NoXml tells nothing of itself (it printed no metadata but \"usage: me\"), so that nobody has judged ocf:NoXml of service:NoXml",
        "Warning agent-not-asked: ocf:test:Silent tells nothing of itself (exit code 1), so that nobody has judged ocf:Silent of service:Silent",
        "Warning agent-not-asked: ocf:test:Plain offers no validate-all, so that nobody has judged ocf:Plain of service:Plain",
        "Warning agent-not-installed: ocf:test:Missing, which runs ocf:Missing of service:Missing, is not installed on this node",
    ] {
        assert!(told.contains(expected), "{expected}\nis not in\n{told}");
    }
    assert!(!told.contains("Forks") && !told.contains("Vanishes"), "{told}");
    assert!(peak_kib() - before < 16_384, "memory grew by {} KiB", peak_kib() - before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_change_is_not_asked_again() {
    let _alone = ALONE.lock().await;
    let agents = Agents::new();
    agents.judging("Strict", "echo asked >> DIR/asked; exit 2");
    agents.judging("Other", "exit 0");
    let present = conf(&[("Strict", "port=\"17\"")]);
    let found = agents.judge(&[("Strict", "port=\"17\""), ("Other", "")], Some(&present)).await;
    assert_eq!(found, []);
    assert!(!agents.root().join("asked").exists());
    let found = agents.judge(&[("Strict", "port=\"18\""), ("Other", "")], Some(&present)).await;
    assert_eq!(found.iter().map(|finding| finding.severity).collect::<Vec<_>>(), [Severity::Error], "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_room_of_hanging_agents_is_given_up_in_time() {
    let _alone = ALONE.lock().await;
    let agents = Agents::new();
    let _never = Never::at(agents.root().join("never"));
    let names: Vec<String> = (0..30).map(|number| format!("Hangs{number:02}")).collect();
    for name in &names {
        agents.put(name, "cat DIR/never");
    }
    let asked: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    let found = agents.judge(&asked, None).await;
    let last = found.last().unwrap();
    assert!(last.text.contains("were not judged by their agents within 8s"), "{}", last.text);
    assert!(found.iter().all(|finding| finding.severity == Severity::Warning));
}
