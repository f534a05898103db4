//! corosync itself reads the files that are rendered from cluster.conf: `corosync -t` with everything that the console can set.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use shared::conf::corosync::{RenderOptions, render_corosync_conf};
use shared::ids::NodeName;

const NODES: &str = "<clusternodes><clusternode name='a' nodeid='1'><altname name='a2'/></clusternode>\
                     <clusternode name='b' nodeid='2'><altname name='b2'/></clusternode></clusternodes>";

/// What corosync says of the file that follows; `None`: it takes it.
fn refused(folder: &Path, inside: &str, change: impl Fn(String) -> String) -> Option<String> {
    let text = format!("<cluster name='c' config_version='1'>{inside}{NODES}</cluster>");
    let conf = shared::conf::load(&text).conf.unwrap();
    // Names would be looked up, and nobody knows these.
    let addresses: BTreeMap<NodeName, Vec<String>> = [
        (NodeName::from("a"), vec!["127.0.0.1".to_owned(), "127.0.0.2".to_owned()]),
        (NodeName::from("b"), vec!["127.0.0.3".to_owned(), "127.0.0.4".to_owned()]),
    ]
    .into();
    let logfile = folder.join("corosync.log").display().to_string();
    let rendered = render_corosync_conf(&conf, &RenderOptions { addresses, logfile });
    let key = folder.join("key");
    std::fs::write(&key, [7; 256]).unwrap();
    let rendered = rendered.replacen("totem {\n", &format!("totem {{\n    keyfile: {}\n", key.display()), 1);
    let path = folder.join("corosync.conf");
    std::fs::write(&path, change(rendered)).unwrap();
    let ran = Command::new("corosync").arg("-t").arg("-c").arg(&path).output().expect("corosync is installed");
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    (!ran.status.success()).then_some(said)
}

#[test]
fn corosync_takes_every_setting_of_the_console() {
    let folder = tempfile::tempdir().unwrap();
    let samples = [
        "",
        "<cman two_node='1' expected_votes='1'/>",
        "<cman two_node='1' expected_votes='1' wait_for_all='0'/>",
        "<cman expected_votes='2' wait_for_all='1' port='6000'/>",
        "<totem token='3000' consensus='4000' join='100' token_retransmits_before_loss_const='10' rrp_mode='active'/>",
        "<totem token='400' consensus='10' token_retransmits_before_loss_const='20' rrp_mode='rr'/>",
        "<totem><interface ringnumber='0' knet_link_priority='255' knet_ping_interval='500' knet_ping_timeout='1000' \
         knet_pong_count='3'/><interface ringnumber='1' mcastport='7000' knet_ping_interval='9'/></totem>",
        "<qdevice host='w'/>",
        "<qdevice host='w' port='5500' algorithm='lms' tie_breaker='2' tls='off' timeout='9000' sync_timeout='12000' heuristics='on'>\
         <heuristic name='gateway' program='/usr/bin/ping -c1 -w1 10.0.0.254'/></qdevice>",
        "<logging to_syslog='no' to_logfile='yes' syslog_facility='local7' syslog_priority='emerg' logfile_priority='debug' debug='on'>\
         <logging_daemon name='corosync' syslog_priority='warning'/><logging_daemon name='corosync' subsys='KNET' debug='off'/>\
         <logging_daemon name='rgmanager' debug='on'/></logging>",
    ];
    for sample in samples {
        assert_eq!(refused(folder.path(), sample, |text| text), None, "{sample}");
    }
}

#[test]
fn corosync_refuses_what_checking_calls_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for sample in ["<logging syslog_facility='local9'/>", "<logging syslog_priority='loud'/>"] {
        assert!(refused(folder.path(), sample, |text| text).is_some(), "{sample}");
    }
    // Were the wrong word written as it stands, corosync would not start; it is read as the default.
    assert_eq!(refused(folder.path(), "<totem rrp_mode='fast'/>", |text| text), None);
    assert!(refused(folder.path(), "", |text| text.replace("link_mode: passive", "link_mode: fast")).is_some());
}
