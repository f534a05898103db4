//! The original protocol of ricci, byte by byte as documented: XML over TLS without ALPN, sessions, batches, modules.
//! Off unless switched on; strangers can do nothing with it but authenticate.

use std::sync::Arc;

use crate::support::{FakeRgmanager, Manager, Node, empty_status};
use rustls::pki_types::ServerName;
use serde_json::json;
use shared::ids::{ConfDigest, ConfVersion, NodeId, NodeName, ServiceName};
use shared::socket::{Ask, PutConf, Reply};
use shared::status::{
    Answer, ClusterStatus, Command, ConfInForce, Membership, NodeStatus, Outcome, Quorum, Reason, ServiceStatus,
};
use shared::text::{ResultCode, ServiceState};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const CONF: &str = include_str!("three_nodes.conf");

/// A node that speaks the original protocol.
fn node() -> Node {
    let mut node = Node::prepare();
    let mut command = node.command("serve");
    command.env("RICCI_LEGACY_PROTOCOL", "on");
    node.run_command(command);
    node
}

struct Client {
    stream: TlsStream<TcpStream>,
    pending: String,
}

impl Client {
    async fn connect(node: &Node, manager: &Manager) -> Self {
        let connector = TlsConnector::from(Arc::new(manager.tls_config(node)));
        let stream = TcpStream::connect(("127.0.0.1", node.port)).await.unwrap();
        let stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
        Self { stream, pending: String::new() }
    }

    /// What comes until it ends like this.
    async fn read_until(&mut self, end: &str) -> String {
        let mut piece = [0; 4096];
        loop {
            if let Some(at) = self.pending.find(end) {
                let rest = self.pending.split_off(at + end.len());
                return std::mem::replace(&mut self.pending, rest);
            }
            let count = self.stream.read(&mut piece).await.unwrap();
            assert!(count > 0, "closed after {:?}", self.pending);
            self.pending.push_str(std::str::from_utf8(&piece[..count]).unwrap());
        }
    }

    /// What comes until the server closes.
    async fn read_to_end(&mut self) -> String {
        let mut bytes = Vec::new();
        // A peer that closes without a goodbye of TLS has said all it had to say.
        let _ = self.stream.read_to_end(&mut bytes).await;
        format!("{}{}", self.pending, String::from_utf8(bytes).unwrap())
    }

    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// A request without content and its answer without content.
    async fn ask(&mut self, attributes: &str) -> String {
        self.send(&format!("<ricci version=\"1.0\" {attributes}/>")).await;
        self.read_until("/>").await
    }

    /// One call in a batch that is waited for.
    async fn call(&mut self, module: &str, function: &str, vars: &str) -> String {
        self.send(&batch(module, function, vars)).await;
        self.read_until("</ricci>").await
    }
}

fn batch(module: &str, function: &str, vars: &str) -> String {
    format!(
        "<?xml version=\"1.0\" ?>\n<ricci version=\"1.0\" function=\"process_batch\" async=\"false\">\n <batch>\n  \
         <module name=\"{module}\">\n   <request API_version=\"1.0\" sequence=\"7\">\n    \
         <function_call name=\"{function}\">{vars}</function_call>\n   </request>\n  </module>\n </batch>\n</ricci>\n"
    )
}

/// The answer to a batch of one call, with these variables behind `success`.
fn answered(id: u32, module: &str, function: &str, vars: &str) -> String {
    format!(
        "<ricci version=\"1.0\" success=\"0\"><batch batch_id=\"{id}\" status=\"0\"><module name=\"{module}\" \
         status=\"0\"><response API_version=\"1.0\" sequence=\"7\"><function_response function_name=\"{function}\">\
         <var mutable=\"false\" name=\"success\" type=\"boolean\" value=\"true\"/>{vars}</function_response></response>\
         </module></batch></ricci>"
    )
}

fn failed(id: u32, function: &str, code: i32, text: &str) -> String {
    format!(
        "<ricci version=\"1.0\" success=\"0\"><batch batch_id=\"{id}\" status=\"4\"><module name=\"cluster\" \
         status=\"4\"><response API_version=\"1.0\" sequence=\"7\"><function_response function_name=\"{function}\">\
         <var mutable=\"false\" name=\"success\" type=\"boolean\" value=\"false\"/>\
         <var mutable=\"false\" name=\"error_code\" type=\"int\" value=\"{code}\"/>\
         <var mutable=\"false\" name=\"error_description\" type=\"string\" value=\"{text}\"/></function_response>\
         </response></module></batch></ricci>"
    )
}

/// A client whose certificate is pinned.
async fn paired(node: &Node) -> Client {
    let manager = Manager::new();
    assert_eq!(manager.pair_with_token(node, &node.token()).await.status(), 200);
    let mut client = Client::connect(node, &manager).await;
    let hello = client.read_until("/>").await;
    assert!(hello.starts_with("<ricci version=\"1.0\" authenticated=\"true\" hostname=\""), "{hello}");
    assert!(hello.contains(" os=\"") && hello.ends_with(" xen_host=\"false\"/>"), "{hello}");
    client
}

fn status(state: ServiceState) -> ClusterStatus {
    let node = NodeStatus {
        id: NodeId(1),
        name: NodeName::from("n1"),
        configured: true,
        local: true,
        online: true,
        member: Membership::Member,
        boot_id: None,
        conf_version: None,
        fencing: None,
        last_fenced: None,
        standby: false,
        watches: Vec::new(),
        fence_proofs: Vec::new(),
    };
    let service = ServiceStatus {
        name: ServiceName::from("service:web"),
        state,
        frozen: false,
        partial: false,
        owner: Some(NodeName::from("n1")),
        last_owner: None,
        restarts: 0,
        last_transition: None,
        reason: Reason::Autostart,
        waits_for: None,
        request: None,
        failure: None,
        resources: Vec::new(),
    };
    ClusterStatus {
        conf: Some(ConfInForce { version: ConfVersion(8), digest: ConfDigest::from("00") }),
        quorum: Quorum { quorate: true, votes: Some(2), votes_expected: Some(3) },
        nodes: vec![node],
        services: vec![service],
        ..empty_status()
    }
}

/// An rgmanager whose service is in this state, and that does everything with this result.
fn rgmanager(node: &Node, state: ServiceState, code: ResultCode) -> FakeRgmanager {
    FakeRgmanager::listen(node, move |ask| {
        vec![match ask {
            Ask::Status => Reply::Status { status: Box::new(status(state)) },
            Ask::Conf => Reply::Conf { version: ConfVersion(8), digest: ConfDigest::from("00"), text: CONF.to_owned() },
            Ask::Request { .. } => Reply::Answer { answer: Answer::Accepted },
            Ask::Await { .. } => Reply::Outcome { outcome: Outcome { code, owner: None, text: String::new() } },
            Ask::PutConf { .. } => Reply::PutConf {
                result: PutConf::Accepted {
                    version: ConfVersion(8),
                    digest: ConfDigest::from("01"),
                    findings: Vec::new(),
                },
            },
            _ => Reply::Error { text: "not in this test".into() },
        }]
    })
}

fn commands(rgmanager: &FakeRgmanager) -> Vec<Command> {
    let asked = rgmanager.asked().into_iter();
    asked.filter_map(|ask| if let Ask::Request { request } = ask { Some(request.command) } else { None }).collect()
}

fn value(name: &str, value: &str) -> String {
    format!("<var mutable=\"false\" name=\"{name}\" type=\"string\" value=\"{value}\"/>")
}

#[tokio::test]
async fn unless_switched_on_a_client_without_alpn_is_taken_for_http() {
    let node = Node::start();
    let mut client = Client::connect(&node, &Manager::new()).await;
    client.send("<ricci version=\"1.0\" function=\"list_modules\"/>\r\n\r\n").await;
    let said = client.read_to_end().await;
    assert!(!said.contains("<ricci"), "{said}");
}

#[tokio::test]
async fn switched_on_managers_of_today_are_served_as_before() {
    let node = node();
    let manager = Manager::new();
    assert_eq!(manager.json(&node, "/v1/alive").await["program"], "ricci");
    assert_eq!(manager.over_http1().json(&node, "/v1/alive").await["program"], "ricci");
}

#[tokio::test]
async fn who_forgets_tls_or_the_certificate_is_told_so() {
    let node = node();
    let mut plain = TcpStream::connect(("127.0.0.1", node.port)).await.unwrap();
    plain.write_all(b"<ricci version=\"1.0\" function=\"list_modules\"/>").await.unwrap();
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said).await;
    assert_eq!(String::from_utf8(said).unwrap(), "<SSL_required/>");
    let mut client = Client::connect(&node, &Manager::without_certificate()).await;
    assert_eq!(client.read_to_end().await, "<Clients_SSL_certificate_required/>");
}

#[tokio::test]
async fn a_stranger_can_do_nothing_but_authenticate_and_not_even_reboot() {
    let node = node();
    node.script("bin/reboot", "touch \"$(dirname \"$0\")/../rebooted\"");
    let mut client = Client::connect(&node, &Manager::new()).await;
    let hello = client.read_until("/>").await;
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let expected = format!(
        "<ricci version=\"1.0\" authenticated=\"false\" hostname=\"{hostname}\" clustername=\"\" clusteralias=\"\"/>"
    );
    assert_eq!(hello, expected);
    for function in ["list_modules", "process_batch", "batch_report", "self_fence", "force_reboot", "unauthenticate"] {
        let told = client.ask(&format!("function=\"{function}\"")).await;
        assert_eq!(told, "<ricci version=\"1.0\" success=\"5\"/>", "{function}");
    }
    assert!(!node.path("rebooted").exists());
}

#[tokio::test]
async fn a_token_in_place_of_the_password_pairs_and_unauthenticate_ends_that() {
    let node = node();
    let mut client = Client::connect(&node, &Manager::new()).await;
    client.read_until("/>").await;
    let told = client.ask(&format!("function=\"authenticate\" password=\"{}\"", node.token())).await;
    assert_eq!(told, "<ricci version=\"1.0\" success=\"0\"/>");
    client.send("<ricci version=\"1.0\" function=\"list_modules\"/>").await;
    let modules = ["cluster", "log", "reboot", "service"].map(|name| format!("<module name=\"{name}\"/>"));
    let expected = format!("<ricci version=\"1.0\" success=\"0\">{}</ricci>", modules.concat());
    assert_eq!(client.read_until("</ricci>").await, expected);
    assert_eq!(client.ask("function=\"unauthenticate\"").await, "<ricci version=\"1.0\" success=\"0\"/>");
    assert_eq!(client.ask("function=\"list_modules\"").await, "<ricci version=\"1.0\" success=\"5\"/>");
}

#[tokio::test]
async fn wrong_passwords_are_refused_and_the_fourth_ends_the_conversation() {
    let node = node();
    let mut client = Client::connect(&node, &Manager::new()).await;
    client.read_until("/>").await;
    for _ in 0..3 {
        let told = client.ask("function=\"authenticate\" password=\"0000-0000-0000-0000\"").await;
        assert_eq!(told, "<ricci version=\"1.0\" success=\"10\"/>");
    }
    client.send("<ricci version=\"1.0\" function=\"authenticate\" password=\"0000-0000-0000-0000\"/>").await;
    assert_eq!(client.read_to_end().await, "<ricci version=\"1.0\" success=\"10\"><bye/></ricci>");
}

#[tokio::test]
async fn what_is_no_request_has_its_number() {
    let node = node();
    let mut client = paired(&node).await;
    for (request, success) in [
        ("<ricci function=\"list_modules\"/>", 1),
        ("<ricci version=\"2.0\" function=\"list_modules\"/>", 2),
        ("<ricci version=\"1.0\"/>", 3),
        ("<ricci version=\"1.0\" function=\"dance\"/>", 4),
        ("<ricci version=\"1.0\" function=\"process_batch\"/>", 11),
        ("<ricci version=\"1.0\" function=\"batch_report\" batch_id=\"99\"/>", 12),
    ] {
        // In pieces, as a slow network brings it.
        let (first, second) = request.split_at(request.len() / 2);
        client.send(first).await;
        client.send(second).await;
        assert_eq!(client.read_until("/>").await, format!("<ricci version=\"1.0\" success=\"{success}\"/>"));
    }
    client.send("<rigatoni/>").await;
    assert_eq!(client.read_to_end().await, "<not_ricci_message/>");
}

#[tokio::test]
async fn services_are_started_by_their_state_as_the_original_did() {
    let service = |name: &str| ServiceName::from(format!("service:{name}").as_str());
    let enable =
        |on: Option<&str>| Command::Enable { service: service("web"), on: on.map(NodeName::from), by_domain: false };
    let relocate = Command::Relocate { service: service("web"), to: Some(NodeName::from("n2")) };
    let disable = Command::Disable { service: service("web") };
    for (state, expected) in [
        (ServiceState::Disabled, vec![enable(Some("n2"))]),
        (ServiceState::Stopped, vec![enable(Some("n2"))]),
        (ServiceState::Started, vec![relocate.clone()]),
        (ServiceState::Failed, vec![disable.clone(), enable(Some("n2"))]),
    ] {
        let node = node();
        let rgmanager = rgmanager(&node, state, ResultCode::Success);
        let mut client = paired(&node).await;
        let vars = format!("{}{}", value("servicename", "web"), value("nodename", "n2"));
        assert_eq!(client.call("cluster", "start_service", &vars).await, answered(1, "cluster", "start_service", ""));
        assert_eq!(commands(&rgmanager), expected, "{state:?}");
    }
}

#[tokio::test]
async fn a_function_that_fails_says_why_and_the_steps_behind_it_never_run() {
    let node = node();
    let rgmanager = rgmanager(&node, ServiceState::Started, ResultCode::Frozen);
    let mut client = paired(&node).await;
    let told = client.call("cluster", "stop_service", &value("servicename", "web")).await;
    assert_eq!(told, failed(1, "stop_service", -11, "Failure: Service is frozen"));
    let told = client.call("cluster", "restart_service", "").await;
    assert_eq!(told, failed(2, "restart_service", -1, "the variable &apos;servicename&apos; is missing"));

    let step = |function: &str| {
        let whole = batch("cluster", function, &value("servicename", "web"));
        let (begin, end) = (whole.find("<module").unwrap(), whole.find("</batch>").unwrap());
        whole[begin..end].to_owned()
    };
    let both = format!("{}{}", step("stop_service"), step("restart_service"));
    client
        .send(&format!(
            "<ricci version=\"1.0\" function=\"process_batch\" async=\"false\"><batch>{both}</batch></ricci>"
        ))
        .await;
    let told = client.read_until("</ricci>").await;
    assert!(told.contains("<batch batch_id=\"3\" status=\"4\"><module name=\"cluster\" status=\"4\">"), "{told}");
    assert!(told.ends_with("<module name=\"cluster\" status=\"5\"/></batch></ricci>"), "{told}");
    assert_eq!(commands(&rgmanager).len(), 2, "the failed step was asked for twice, the one behind it never");
}

#[tokio::test]
async fn an_asynchronous_batch_is_reported_until_it_has_ended_and_then_forgotten() {
    let node = node();
    let _rgmanager = rgmanager(&node, ServiceState::Started, ResultCode::Success);
    let mut client = paired(&node).await;
    client
        .send(
            &batch("cluster", "stop_service", &value("servicename", "web"))
                .replace("async=\"false\"", "async=\"true\""),
        )
        .await;
    let mut told = client.read_until("</ricci>").await;
    let ended = answered(1, "cluster", "stop_service", "");
    while told != ended {
        assert!(told.contains("batch_id=\"1\" status=\"1\"") || told.contains("batch_id=\"1\" status=\"2\""), "{told}");
        client.send("<ricci version=\"1.0\" function=\"batch_report\" batch_id=\"1\"/>").await;
        told = client.read_until("</ricci>").await;
    }
    let told = client.ask("function=\"batch_report\" batch_id=\"1\"").await;
    assert_eq!(told, "<ricci version=\"1.0\" success=\"12\"/>");
}

#[tokio::test]
async fn modules_functions_and_versions_that_do_not_exist_are_told_apart() {
    let node = node();
    let mut client = paired(&node).await;
    let told = client.call("storage", "report", "").await;
    let apis = "<var mutable=\"false\" name=\"APIs\" type=\"list_str\"><listentry value=\"1.0\"/></var>";
    let error = format!("<API_error description=\"no module &apos;storage&apos;\">{apis}</API_error>");
    assert!(told.contains("<module name=\"storage\" status=\"3\">") && told.contains(&error), "{told}");
    assert_eq!(client.call("cluster", "APIs", "").await, answered(2, "cluster", "APIs", apis));
    let told = client.call("cluster", "dance", "").await;
    assert_eq!(told, failed(3, "dance", -1, "the module cluster has no function &apos;dance&apos;"));
}

#[tokio::test]
async fn the_configuration_comes_and_goes_as_xml_within_xml() {
    let node = node();
    let rgmanager = rgmanager(&node, ServiceState::Started, ResultCode::Success);
    let mut client = paired(&node).await;
    let told = client.call("cluster", "get_cluster.conf", "").await;
    let body = CONF.split_once("?>").map_or(CONF, |(_, body)| body.trim_start());
    let conf = format!("<var mutable=\"false\" name=\"cluster.conf\" type=\"xml\">{body}</var>");
    assert_eq!(told, answered(1, "cluster", "get_cluster.conf", &conf));

    let sent = "<cluster name=\"one\" config_version=\"8\"><!-- kept --><clusternodes/></cluster>";
    let vars = format!(
        "<var mutable=\"false\" name=\"propagate\" type=\"boolean\" value=\"true\"/>\
         <var mutable=\"false\" name=\"cluster.conf\" type=\"xml\">{sent}</var>"
    );
    let told = client.call("cluster", "set_cluster.conf", &vars).await;
    assert_eq!(told, answered(2, "cluster", "set_cluster.conf", ""));
    let put: Vec<String> = rgmanager
        .asked()
        .into_iter()
        .filter_map(|ask| if let Ask::PutConf { text, .. } = ask { Some(text) } else { None })
        .collect();
    assert_eq!(put, [format!("<?xml version=\"1.0\"?>\n{sent}\n")]);
    let told = client.call("cluster", "set_cluster_version", &value("version", "8")).await;
    assert_eq!(told, answered(3, "cluster", "set_cluster_version", ""));
}

#[tokio::test]
async fn without_a_cluster_the_configuration_goes_to_the_disk_and_errors_are_told() {
    let node = node();
    let mut client = paired(&node).await;
    let vars = |text: &str| format!("<var mutable=\"false\" name=\"cluster.conf\" type=\"xml\">{text}</var>");
    let body = CONF.split_once("?>").map_or(CONF, |(_, body)| body.trim());
    let told = client.call("cluster", "set_cluster.conf", &vars(body)).await;
    assert_eq!(told, answered(1, "cluster", "set_cluster.conf", ""));
    let written = std::fs::read_to_string(node.conf_path()).unwrap();
    assert_eq!(written, format!("<?xml version=\"1.0\"?>\n{body}\n"));
    let told = client.call("cluster", "set_cluster.conf", &vars("<clutser/>")).await;
    assert!(told.contains("status=\"4\"") && told.contains("line 2:"), "{told}");
    assert_eq!(std::fs::read_to_string(node.conf_path()).unwrap(), written);
}

#[tokio::test]
async fn the_status_has_the_attributes_that_pollers_parse() {
    let node = node();
    let _rgmanager = rgmanager(&node, ServiceState::Started, ResultCode::Success);
    let mut client = paired(&node).await;
    let told = client.call("cluster", "status", "").await;
    let begin = told.find("<cluster ").unwrap();
    let head = "<cluster name=\"one\" alias=\"one\" cluster_version=\"6\" config_version=\"8\" votes=\"2\" \
                minQuorum=\"2\" quorate=\"true\">";
    assert!(told[begin..].starts_with(head), "{told}");
    let conf = shared::conf::load(CONF).conf.unwrap();
    assert_eq!(told.matches("<node name=").count(), conf.nodes.len());
    for node in &conf.nodes {
        let online = node.name.as_str() == "n1";
        let row = format!("votes=\"{}\" online=\"{online}\" clustered=\"{online}\" uptime=\"", node.votes);
        assert!(told.contains(&format!("<node name=\"{}\" nodeid=\"{}\" {row}", node.name, node.id)), "{told}");
    }
}

#[tokio::test]
async fn the_node_is_started_and_stopped_and_its_services_are_told() {
    let node = node();
    let daemon = "case \"$1\" in -v|--version) echo version 3.1.4; exit;; esac; exec sleep 600";
    node.script("bin/corosync", daemon);
    node.script("bin/rgmanager", daemon);
    node.script("bin/corosync-cfgtool", "exit 0");
    let manager = node.paired().await;
    let put = json!({ "text": CONF, "origin": "test", "offline": true });
    assert_eq!(manager.put(&node, "/v1/conf", &put).await.status(), 202);
    assert_eq!(manager.post(&node, "/v1/cluster/key", &json!({})).await.status(), 200);
    let rgmanager = FakeRgmanager::listen(&node, |_| Vec::new());
    let mut client = paired(&node).await;
    assert_eq!(client.call("cluster", "start_node", "").await, answered(1, "cluster", "start_node", ""));
    let services = |running: bool| {
        let row = |name: &str| format!("<service name=\"{name}\" enabled=\"{running}\" running=\"{running}\"/>");
        let rows = format!("{}{}", row("cman"), row("rgmanager"));
        format!("<var mutable=\"false\" name=\"services\" type=\"list_xml\">{rows}</var>")
    };
    assert_eq!(client.call("service", "list", "").await, answered(2, "service", "list", &services(true)));
    let base = "<var name=\"services\" type=\"list_xml\"><set name=\"Cluster Base\"/></var>";
    let told = client.call("service", "stop", base).await;
    assert!(told.contains("rgmanager runs on this node"), "{told}");
    drop(rgmanager);
    assert_eq!(client.call("cluster", "stop_node", "").await, answered(4, "cluster", "stop_node", ""));
    assert_eq!(client.call("service", "list", "").await, answered(5, "service", "list", &services(false)));
}

#[tokio::test]
async fn a_reboot_is_for_those_who_are_paired_and_the_log_can_be_read() {
    let node = node();
    node.script("bin/reboot", "touch \"$(dirname \"$0\")/../rebooted\"");
    let mut client = paired(&node).await;
    let told = client.call("log", "get", &value("age", "3600")).await;
    assert!(told.contains("<logentry age=\"") && told.contains("domain=\"ricci\""), "{told}");
    assert_eq!(client.call("reboot", "reboot_now", "").await, answered(2, "reboot", "reboot_now", ""));
    while !node.path("rebooted").exists() {
        tokio::task::yield_now().await;
    }
}

/// Two calls in a batch that is not waited for.
fn two_steps(first: (&str, &str, &str), second: (&str, &str, &str)) -> String {
    let module = |(module, function, vars): (&str, &str, &str)| {
        format!(
            "<module name=\"{module}\"><request API_version=\"1.0\" sequence=\"\"><function_call name=\"{function}\">\
             {vars}</function_call></request></module>"
        )
    };
    format!(
        "<ricci version=\"1.0\" function=\"process_batch\" async=\"true\"><batch>{}{}</batch></ricci>",
        module(first),
        module(second)
    )
}

/// Asks for the report until it has this status.
async fn report(client: &mut Client, id: u32, status: &str) -> String {
    loop {
        client.send(&format!("<ricci version=\"1.0\" function=\"batch_report\" batch_id=\"{id}\"/>")).await;
        let told = client.read_until("</ricci>").await;
        if told.contains(&format!("<batch batch_id=\"{id}\" status=\"{status}\">")) {
            return told;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn again(node: &mut Node, manager: &Manager) -> Client {
    node.kill();
    let mut command = node.command("serve");
    command.env("RICCI_LEGACY_PROTOCOL", "on");
    node.run_command(command);
    let mut client = Client::connect(node, manager).await;
    client.read_until("/>").await;
    client
}

#[tokio::test]
async fn a_step_that_a_killed_ricci_was_at_has_failed_and_says_so() {
    let mut node = node();
    // Silent: the first step does not end.
    let rgmanager = FakeRgmanager::listen(&node, |_| Vec::new());
    let manager = Manager::new();
    assert_eq!(manager.pair_with_token(&node, &node.token()).await.status(), 200);
    let mut client = Client::connect(&node, &manager).await;
    client.read_until("/>").await;
    client.send(&two_steps(("cluster", "stop_service", &value("servicename", "web")), ("service", "list", ""))).await;
    client.read_until("</ricci>").await;
    report(&mut client, 1, "2").await;
    while rgmanager.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    let mut client = again(&mut node, &manager).await;
    let told = report(&mut client, 1, "4").await;
    assert!(told.contains("<module name=\"cluster\" status=\"4\">"), "{told}");
    assert!(told.contains("value=\"ricci was restarted while this was under way; "), "{told}");
    assert!(told.contains("<module name=\"service\" status=\"5\"/>"), "{told}");
    let told = client.ask("function=\"batch_report\" batch_id=\"1\"").await;
    assert_eq!(told, "<ricci version=\"1.0\" success=\"12\"/>", "read once, forgotten also on disk");
    let mut client = again(&mut node, &manager).await;
    client.send(&batch("cluster", "APIs", "")).await;
    let told = client.read_until("</ricci>").await;
    assert!(told.contains("batch_id=\"2\" status=\"0\""), "no id is given twice: {told}");
}

#[tokio::test]
async fn what_follows_a_reboot_is_done_after_it() {
    let mut node = node();
    node.script("bin/reboot", "exit 0");
    let manager = Manager::new();
    assert_eq!(manager.pair_with_token(&node, &node.token()).await.status(), 200);
    let mut client = Client::connect(&node, &manager).await;
    client.read_until("/>").await;
    client.send(&two_steps(("reboot", "reboot_now", ""), ("cluster", "APIs", ""))).await;
    client.read_until("</ricci>").await;
    loop {
        client.send("<ricci version=\"1.0\" function=\"batch_report\" batch_id=\"1\"/>").await;
        let told = client.read_until("</ricci>").await;
        if told.contains("<module name=\"reboot\" status=\"0\">") {
            assert!(told.contains("<module name=\"cluster\" status=\"1\"/>"), "not before the reboot: {told}");
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    std::fs::write(node.path("boot_id"), "boot-two\n").unwrap();
    let mut client = again(&mut node, &manager).await;
    let told = report(&mut client, 1, "0").await;
    assert!(told.contains("<module name=\"cluster\" status=\"0\">") && told.contains("\"APIs\""), "{told}");
}
