//! What corosync runs on: quorum, links and logging; how cluster.conf says it, how edits change it, what checking finds,
//! and the corosync.conf that follows. That corosync takes these files is tested with corosync itself, in ricci.

use shared::conf::corosync::{RenderOptions, render_corosync_conf};
use shared::conf::edit::{Edit, apply_all};
use shared::conf::{self, Severity, diff};

const NODES: &str = "<clusternodes><clusternode name='a' nodeid='1'/><clusternode name='b' nodeid='2'/></clusternodes>";

fn text(inside: &str) -> String {
    format!("<cluster name='c' config_version='1'>{inside}{NODES}<rm/></cluster>")
}

fn rendered(inside: &str) -> String {
    render_corosync_conf(&conf::load(&text(inside)).conf.unwrap(), &RenderOptions::default())
}

/// Errors and warnings of a piece, without those that every cluster without fencing has.
fn faults(inside: &str) -> Vec<String> {
    let findings = conf::load(&text(inside)).findings;
    let graver = findings.into_iter().filter(|one| one.severity != Severity::Info && one.rule != "node-not-fenced");
    graver.map(|one| format!("{} {}", one.rule, one.place.path)).collect()
}

fn edited(before: &str, edits: &[&str]) -> String {
    let edits: Vec<Edit> = edits.iter().map(|json| serde_json::from_str(json).unwrap()).collect();
    let mut document = conf::load(before).document;
    apply_all(&mut document, &edits).unwrap();
    document.print()
}

#[test]
fn a_quorum_device_takes_the_place_of_two_node() {
    let before = text("<cman two_node='1' expected_votes='1'/>");
    let set = r#"{"edit":"set-qdevice","attributes":{"host":"witness","tie_breaker":"lowest"},
        "heuristics":[{"name":"gateway","program":"/usr/bin/ping -c1 10.0.0.254"}]}"#;
    let after = edited(&before, &[set]);
    assert!(
        !after.contains("two_node") && after.contains("<qdevice host=\"witness\" tie_breaker=\"lowest\">"),
        "{after}"
    );
    let corosync = render_corosync_conf(&conf::load(&after).conf.unwrap(), &RenderOptions::default());
    let device = "quorum {\n    provider: corosync_votequorum\n    device {\n        model: net\n        votes: 1\n        net {\n            \
                  host: witness\n            port: 5403\n            algorithm: ffsplit\n            tie_breaker: lowest\n        \
                  }\n        heuristics {\n            mode: sync\n            exec_gateway: /usr/bin/ping -c1 10.0.0.254\n        \
                  }\n    }\n}\n";
    assert!(corosync.contains(device), "{corosync}");
    let told: Vec<String> = diff::diff(&conf::load(&before).conf.unwrap(), &conf::load(&after).conf.unwrap())
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(told.contains(&"quorum device added".to_owned()), "{told:?}");
    let back = edited(&after, &[r#"{"edit":"remove-qdevice"}"#]);
    assert!(back.contains("two_node=\"1\"") && !back.contains("qdevice"), "{back}");
}

#[test]
fn a_third_node_beside_a_quorum_device_and_two_without_get_no_two_node() {
    let before = text("<qdevice host='w'/>").replace("<clusternode name='b' nodeid='2'/>", "");
    let after = edited(&before, &[r#"{"edit":"add-node","name":"b"}"#]);
    assert!(!after.contains("two_node"), "{after}");
}

#[test]
fn lms_has_a_vote_less_than_there_are_nodes() {
    let corosync =
        rendered("<qdevice host='w' algorithm='lms' timeout='9000' sync_timeout='20000' tls='required' port='5404'/>");
    for line in [
        "votes: 1\n",
        "algorithm: lms\n",
        "timeout: 9000\n",
        "sync_timeout: 20000\n",
        "tls: required\n",
        "port: 5404\n",
    ] {
        assert!(corosync.contains(line), "{line}{corosync}");
    }
}

#[test]
fn wait_for_all_is_what_is_said_else_what_two_nodes_need() {
    let of = |inside: &str| {
        rendered(inside).lines().find(|line| line.contains("wait_for_all")).map(|line| line.trim().to_owned())
    };
    assert_eq!(of("<cman two_node='1' expected_votes='1'/>").as_deref(), Some("wait_for_all: 1"));
    assert_eq!(of("<cman two_node='1' expected_votes='1' wait_for_all='0'/>").as_deref(), Some("wait_for_all: 0"));
    assert_eq!(of("<cman wait_for_all='1'/>").as_deref(), Some("wait_for_all: 1"));
    assert_eq!(of("<qdevice host='w'/>"), None);
}

#[test]
fn links_have_ports_priorities_and_pings_of_their_own() {
    let nodes = NODES.replace("nodeid='1'/>", "nodeid='1'><altname name='a2'/></clusternode>");
    let nodes = nodes.replace("nodeid='2'/>", "nodeid='2'><altname name='b2'/></clusternode>");
    let inside = "<cman port='6000' two_node='1' expected_votes='1'/><totem token='3000' rrp_mode='active'><interface ringnumber='1' \
                  mcastport='7000' knet_link_priority='2' knet_ping_interval='300' knet_ping_timeout='600' knet_pong_count='5'/></totem>";
    let corosync = render_corosync_conf(
        &conf::load(&text(inside).replace(NODES, &nodes)).conf.unwrap(),
        &RenderOptions::default(),
    );
    assert!(corosync.contains("    link_mode: active\n"), "{corosync}");
    assert!(
        corosync.contains("    interface {\n        linknumber: 0\n        mcastport: 6000\n    }\n"),
        "{corosync}"
    );
    let second = "        linknumber: 1\n        mcastport: 7000\n        knet_link_priority: 2\n        knet_ping_interval: 300\n        \
                  knet_ping_timeout: 600\n        knet_pong_count: 5\n";
    assert!(corosync.contains(second), "{corosync}");
    assert_eq!(
        faults("<totem><interface knet_ping_interval='3'/></totem><cman two_node='1' expected_votes='1'/>"),
        ["link-ping-pair /cluster/totem/interface"]
    );
}

#[test]
fn logging_is_inherited_from_all_by_daemon_by_subsystem() {
    let corosync = rendered(
        "<logging to_syslog='no' syslog_facility='local4' debug='off'><logging_daemon name='corosync' to_syslog='yes' logfile='/var/log/c.log'/>\
         <logging_daemon name='corosync' subsys='TOTEM' debug='on'/></logging>",
    );
    let logging = "logging {\n    timestamp: hires\n    to_syslog: yes\n    to_logfile: yes\n    logfile: /var/log/c.log\n    \
                   syslog_facility: local4\n    debug: off\n    logger_subsys {\n        subsys: TOTEM\n        debug: on\n    }\n}\n";
    assert!(corosync.ends_with(logging), "{corosync}");
}

#[test]
fn how_much_rgmanager_says_is_its_own_word_then_rm_then_that_of_all() {
    let level = |inside: &str, rm: &str| conf::load(&text(inside).replace("<rm/>", rm)).conf.unwrap().log_level();
    assert_eq!(level("", "<rm/>"), None);
    assert_eq!(level("<logging debug='on'/>", "<rm/>"), Some(7));
    assert_eq!(level("<logging debug='on'/>", "<rm log_level='4'/>"), Some(4));
    let own = "<logging debug='on'><logging_daemon name='rgmanager' syslog_priority='err'/></logging>";
    assert_eq!(level(own, "<rm log_level='4'/>"), Some(3));
}

#[test]
fn an_element_of_logging_or_of_a_link_comes_with_its_first_word_and_goes_with_its_last() {
    let before = text("");
    let set = |attributes: &str| {
        format!(r#"{{"edit":"set-logging","daemon":"corosync","subsys":"CPG","attributes":{attributes}}}"#)
    };
    let on = edited(&before, &[&set(r#"{"debug":"on"}"#)]);
    assert!(on.contains("<logging_daemon name=\"corosync\" subsys=\"CPG\" debug=\"on\"/>"), "{on}");
    let off = edited(&on, &[&set(r#"{"debug":null}"#)]);
    assert!(!off.contains("logging_daemon"), "{off}");
    assert_eq!(edited(&before, &[&set(r#"{"debug":null}"#)]), before);
    let link = edited(&before, &[r#"{"edit":"set-link","number":1,"attributes":{"mcastport":"7000"}}"#]);
    assert!(link.contains("<interface ringnumber=\"1\" mcastport=\"7000\"/>"), "{link}");
    let none = edited(&link, &[r#"{"edit":"set-link","number":1,"attributes":{"mcastport":null}}"#]);
    assert!(!none.contains("interface"), "{none}");
}

#[test]
fn what_corosync_would_refuse_or_misread_is_found() {
    let with_device = |rest: &str| faults(&format!("<qdevice {rest}/>"));
    assert_eq!(with_device(""), ["qdevice-host /cluster/qdevice"]);
    assert_eq!(with_device("host='a'"), ["qdevice-on-node /cluster/qdevice/@host"]);
    assert_eq!(with_device("host='w' votes='2'"), ["qdevice-votes /cluster/qdevice/@votes"]);
    assert_eq!(with_device("host='w' algorithm='2nodelms'"), ["qdevice-word /cluster/qdevice/@algorithm"]);
    assert_eq!(with_device("host='w' tie_breaker='3'"), ["qdevice-word /cluster/qdevice/@tie_breaker"]);
    assert_eq!(with_device("host='w' tie_breaker='2'"), Vec::<String>::new());
    let both = faults("<cman two_node='1' expected_votes='1'/><qdevice host='w'/>");
    assert_eq!(both, ["qdevice-two-node /cluster/cman/@two_node"]);
    let program = faults("<qdevice host='w'><heuristic name='x y' program='ping'/></qdevice>");
    assert_eq!(program.len(), 2, "{program:?}");
    let two = "<cman two_node='1' expected_votes='1'/>";
    assert_eq!(
        faults(&format!("{two}<logging syslog_priority='loud'/>")),
        ["log-priority /cluster/logging/@syslog_priority"]
    );
    assert_eq!(
        faults(&format!("{two}<logging syslog_facility='local9'/>")),
        ["log-facility /cluster/logging/@syslog_facility"]
    );
    assert_eq!(faults(&format!("{two}<logging logfile='x.log'/>")), ["log-file /cluster/logging/@logfile"]);
    assert_eq!(faults(&format!("{two}<totem rrp_mode='fast'/>")), ["link-mode /cluster/totem/@rrp_mode"]);
    assert_eq!(
        faults("<cman two_node='1' expected_votes='1' wait_for_all='0'/>"),
        ["two-node-no-wait /cluster/cman/@wait_for_all"]
    );
}
