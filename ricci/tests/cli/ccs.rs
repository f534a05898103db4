//! `ccs` against a file and against a stand-in for this node's rgmanager: effect on cluster.conf, lines, exit codes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::fake::{FakeRgmanager, Ran, Say, run};
use shared::conf::{digest, load};
use shared::ids::ConfVersion;
use shared::socket::{Ask, PutConf, Reply};

/// A folder with a file, and no daemon.
struct Desk {
    directory: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn with(text: &str) -> Self {
        let desk = Self::new();
        std::fs::write(desk.file(), text).unwrap();
        desk
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("cluster.conf")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap()
    }

    /// With `-f`, the words split at spaces.
    fn ccs(&self, words: &str) -> Ran {
        let file = self.file().display().to_string();
        let mut arguments = vec!["-f", file.as_str()];
        arguments.extend(words.split_whitespace());
        run("ccs", &arguments, &self.directory.path().join("rgmanager.sk"), "")
    }

    fn silent(&self, words: &str) {
        let ran = self.ccs(words);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""), "{words}");
    }

    /// Refused with this code and sentence; the file stays as it is.
    fn refused(&self, words: &str, code: i32, sentence: &str) {
        let before = std::fs::read(self.file()).ok();
        let ran = self.ccs(words);
        assert_eq!((ran.code, ran.out.as_str()), (code, ""), "{words}");
        assert!(ran.err.starts_with(&format!("ccs: {sentence}")), "{words}: {}", ran.err);
        assert_eq!(std::fs::read(self.file()).ok(), before, "{words}");
    }
}

/// The example of the original's manual page.
fn three_nodes() -> Desk {
    let desk = Desk::new();
    desk.silent("--createcluster mycluster");
    for node in ["host1", "host2", "host3"] {
        desk.ccs(&format!("--addnode {node}")).expect(0, &format!("Node {node} added.\n"));
        desk.ccs(&format!("--addmethod primary {node}")).expect(0, &format!("Method primary added to {node}.\n"));
    }
    desk.silent("--addfencedev myfence agent=fence_apc ipaddr=192.168.0.200 login=apc passwd=apc");
    for (node, port) in [("host1", 1), ("host2", 2), ("host3", 3)] {
        desk.silent(&format!("--addfenceinst myfence {node} primary port={port}"));
    }
    desk
}

#[test]
fn the_example_of_the_manual_makes_a_cluster_that_checks_clean() {
    let desk = three_nodes();
    let expected = "\
<?xml version=\"1.0\"?>
<cluster name=\"mycluster\" config_version=\"11\">
  <clusternodes>
    <clusternode name=\"host1\" nodeid=\"1\">
      <fence>
        <method name=\"primary\">
          <device name=\"myfence\" port=\"1\"/>
        </method>
      </fence>
    </clusternode>
    <clusternode name=\"host2\" nodeid=\"2\">
      <fence>
        <method name=\"primary\">
          <device name=\"myfence\" port=\"2\"/>
        </method>
      </fence>
    </clusternode>
    <clusternode name=\"host3\" nodeid=\"3\">
      <fence>
        <method name=\"primary\">
          <device name=\"myfence\" port=\"3\"/>
        </method>
      </fence>
    </clusternode>
  </clusternodes>
  <fencedevices>
    <fencedevice name=\"myfence\" agent=\"fence_apc\" ipaddr=\"192.168.0.200\" login=\"apc\" passwd=\"apc\"/>
  </fencedevices>
  <rm>
    <failoverdomains/>
    <resources/>
  </rm>
</cluster>
";
    assert_eq!(desk.text(), expected);
    assert!(!load(&desk.text()).has_errors());
    desk.ccs("--getconf").expect(0, expected);
    desk.ccs("--lsnodes").expect(0, "host1: nodeid=1\nhost2: nodeid=2\nhost3: nodeid=3\n");
    desk.ccs("--lsfencedev").expect(0, "myfence: agent=fence_apc, ipaddr=192.168.0.200, login=apc, passwd=(secret)\n");
    desk.ccs("--lsfenceinst host2").expect(0, "host2\n  primary\n    myfence: port=2\n");
}

#[test]
fn versions_are_read_set_and_raised_by_one() {
    let desk = Desk::new();
    desk.silent("--createcluster mycluster");
    desk.ccs("--getversion").expect(0, "1\n");
    desk.silent("--setversion 50");
    desk.ccs("--incversion").expect(0, "51\n");
    desk.ccs("--getversion").expect(0, "51\n");
    desk.refused("--setversion x", 1, "'x' is no version");
}

#[test]
fn ids_are_the_lowest_free_and_two_nodes_are_told_to_the_quorum() {
    let desk = Desk::new();
    desk.silent("--createcluster mycluster");
    desk.ccs("--addnode node1");
    assert!(!desk.text().contains("two_node"));
    desk.ccs("--addnode node2");
    assert!(desk.text().contains("<cman expected_votes=\"1\" two_node=\"1\"/>"), "{}", desk.text());
    desk.ccs("--addnode node3 --nodeid 7");
    assert!(!desk.text().contains("two_node"), "{}", desk.text());
    desk.silent("--rmnode node1");
    desk.ccs("--addnode node4 --votes 2");
    desk.ccs("--lsnodes").expect(0, "node2: nodeid=2\nnode3: nodeid=7\nnode4: nodeid=1, votes=2\n");
    desk.refused("--addnode node2", 1, "Node 'node2' already exists in cluster.conf");
    desk.refused("--addnode node9 --nodeid 7", 1, "Nodeid '7' already exists in cluster.conf");
    desk.refused("--addnode node9 --votes b", 1, "--votes takes a number, not 'b'");
    desk.refused("--rmnode nodex", 1, "Unable to find node nodex");
    desk.silent("--addalt node2 node2-b");
    assert!(desk.text().contains("<altname name=\"node2-b\"/>"));
    desk.refused("--rmalt node2 other", 1, "Alternate name other does not exist for node2.");
}

#[test]
fn fencing_is_refused_in_the_words_of_the_original() {
    let desk = three_nodes();
    for (words, sentence) in [
        ("--addmethod m host9", "Node 'host9' does not currently exist in cluster.conf."),
        ("--addmethod primary host1", "Method 'primary' already exists in cluster.conf."),
        ("--rmmethod m host9", "Node host9 does not exist in cluster.conf."),
        ("--rmmethod m host1", "Method m is not present for host1."),
        ("--addfencedev myfence agent=fence_apc", "Fence device 'myfence' already exists in cluster.conf."),
        ("--addfencedev other ipaddr=1", "fence device 'other' needs agent=fence_"),
        ("--addfencedev other agent", "Invalid option: agent"),
        ("--rmfencedev other", "Fence device 'other' does not exist in cluster.conf."),
        ("--rmfencedev myfence", "the fence device myfence is used by "),
        ("--addfenceinst other host1 primary", "Fence device 'other' not found."),
        ("--addfenceinst myfence host1 m", "Method 'm' not found in node 'host1'."),
        (
            "--rmfenceinst myfence host1 m",
            "Fence instance 'myfence' for node 'host1' in method 'm' does not exist in cluster.conf.",
        ),
        (
            "--rmunfenceinst myfence host1",
            "Unfence instance 'myfence' for node 'host1' does not exist in cluster.conf.",
        ),
        ("--addunfenceinst myfence host9", "Node 'host9' does not currently exist in cluster.conf."),
        ("--lsfenceinst host9", "Node 'host9' does not currently exist in cluster.conf."),
    ] {
        desk.refused(words, 1, sentence);
    }
    desk.ccs("--rmmethod primary host1").expect(0, "Method primary removed from host1.\n");
    desk.silent("--rmfenceinst myfence host2 primary");
    desk.silent("--rmfenceinst myfence host3 primary");
    desk.silent("--rmfencedev myfence");
}

#[test]
fn an_agent_that_takes_access_away_gives_it_back_by_a_mirrored_unfence_device() {
    let desk = three_nodes();
    desk.silent("--addfencedev scsi agent=fence_scsi");
    desk.ccs("--addmethod disk host1");
    desk.silent("--addfenceinst scsi host1 disk port=1");
    let unfence = "      <unfence>\n        <device name=\"scsi\" action=\"on\" port=\"1\"/>\n      </unfence>\n";
    assert!(desk.text().contains(unfence), "{}", desk.text());
    desk.ccs("--addmethod disk host2");
    desk.silent("--addfenceinst scsi host2 disk --nounfence");
    assert_eq!(desk.text().matches("<unfence>").count(), 1);
    desk.ccs("--lsfenceinst host1").expect(
        0,
        "host1\n  primary\n    myfence: port=1\n  disk\n    scsi: port=1\n  <unfence>\n    scsi: action=on, port=1\n",
    );
    let ran = desk.ccs("--rmfenceinst scsi host1 disk");
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (0, "ccs: host1 is still unfenced with scsi; --rmunfenceinst scsi host1 ends that\n")
    );
    desk.silent("--rmunfenceinst scsi host1");
    assert!(!desk.text().contains("unfence"), "{}", desk.text());
}

#[test]
fn failover_domains_are_made_filled_and_listed() {
    let desk = three_nodes();
    desk.silent("--addfailoverdomain east restricted ordered");
    desk.silent("--addfailoverdomainnode east host1 1");
    desk.silent("--addfailoverdomainnode east host2 50");
    desk.silent("--addfailoverdomainnode east host2 2");
    desk.ccs("--lsfailoverdomain")
        .expect(0, "east: ordered=1, restricted=1, nofailback=0\n  host1: priority=1\n  host2: priority=2\n");
    desk.refused("--addfailoverdomain east", 1, "Failover domain 'east' already exists.");
    desk.refused("--addfailoverdomainnode west host1", 1, "Unable to find failoverdomain 'west'");
    desk.refused("--addfailoverdomainnode east host1 0", 2, "Priority must be between 1 and 100\n");
    desk.refused("--addfailoverdomainnode east host1 priority=5", 2, "Priority must be an integer between 1 and 100\n");
    desk.refused("--rmfailoverdomainnode east host3", 1, "Unable to find node 'host3' in failover domain 'east'.");
    desk.refused("--addfailoverdomainnode east host9", 1, "nothing was changed: ");
    desk.silent("--addservice web domain=east");
    desk.refused("--rmfailoverdomain east", 1, "the failover domain east is used by ");
    desk.silent("--rmservice web");
    desk.silent("--rmfailoverdomainnode east host2");
    desk.silent("--rmfailoverdomain east");
    desk.refused("--rmfailoverdomain east", 1, "Unable to find failover domain 'east' in cluster.conf file.");
}

#[test]
fn services_are_trees_addressed_by_type_and_number() {
    let desk = three_nodes();
    desk.silent("--addresource ip address=10.0.0.10");
    desk.silent("--addservice web autostart=0 recovery=relocate");
    desk.silent("--addsubservice web ip ref=10.0.0.10");
    desk.silent("--addsubservice web fs name=a device=/dev/sda1 mountpoint=/a fstype=ext4");
    desk.silent("--addsubservice web fs name=b device=/dev/sdb1 mountpoint=/b fstype=ext4");
    desk.silent("--addsubservice web fs[1]:script name=app file=/etc/init.d/app");
    desk.silent("--addaction web status interval=30");
    desk.silent("--addvm guest migrate=live");
    let services = "\
service: name=web, autostart=0, recovery=relocate
  ip: ref=10.0.0.10
  fs: name=a, device=/dev/sda1, mountpoint=/a, fstype=ext4
  fs: name=b, device=/dev/sdb1, mountpoint=/b, fstype=ext4
    script: name=app, file=/etc/init.d/app
  action: name=status, interval=30
vm: name=guest, migrate=live
resources: \n  ip: address=10.0.0.10\n";
    desk.ccs("--lsservices").expect(0, services);
    for (words, sentence) in [
        ("--addservice web", "Service 'web' already exists in cluster.conf."),
        ("--rmservice other", "Unable to find service: other"),
        ("--addsubservice other ip ref=1", "Unable to find service: other"),
        ("--addsubservice web fs[2]:script name=x", "Unable to find service fs[2]"),
        ("--addsubservice web <x> name=x", "'<x>' cannot be the name of an element"),
        ("--rmsubservice web fs:script", "Unable to find service fs:script"),
        ("--addsubservice web ip ref=10.0.0.99", "nothing was changed: "),
        ("--addresource fly name=x", "nothing was changed: "),
        ("--rmresource ip address=10.0.0.10", "the resource ip:10.0.0.10 is used by "),
        ("--rmresource ip address=1", "Unable to find matching resource: ip, address=1"),
        ("--rmaction web start", "Unable to find a matching action of web: start"),
    ] {
        desk.refused(words, 1, sentence);
    }
    desk.silent("--rmaction web");
    desk.silent("--rmsubservice web fs[1]:script");
    desk.silent("--rmsubservice web fs[0]");
    desk.silent("--rmsubservice web ip");
    desk.silent("--rmresource ip address=10.0.0.10");
    desk.silent("--rmvm guest");
    desk.ccs("--lsservices").expect(
        0,
        "service: name=web, autostart=0, recovery=relocate\n  fs: name=b, device=/dev/sdb1, mountpoint=/b, fstype=ext4\n\
         resources: \n",
    );
}

#[test]
fn a_section_says_what_the_last_words_said_and_nothing_of_before() {
    let desk = three_nodes();
    desk.silent("--settotem token=20000 join=60");
    desk.silent("--settotem token=30000");
    desk.silent("--setcman port=5407");
    desk.silent("--setmulticast 239.1.1.1");
    desk.silent("--setrm log_level=6");
    desk.silent("--setfencedaemon post_join_delay=20");
    desk.silent("--setdlm log_debug=1");
    desk.silent("--setlogging debug=on to_syslog=yes");
    desk.silent("--setlogging debug=off");
    desk.silent("--addlogging name=rgmanager debug=on");
    desk.silent("--setuidgid uid=nobody");
    desk.silent("--setquorumd label=q");
    desk.silent("--addheuristic program=/bin/true");
    desk.ccs("--lsmisc").expect(
        0,
        "Totem: token=30000\nUID/GID: uid=nobody\nDLM: log_debug=1\nResource Manager: log_level=6\nCMAN: port=5407\n\
         Multicast: addr=239.1.1.1\nFence Daemon: post_join_delay=20\nLogging: debug=off\n  \
         Logging Daemon: name=rgmanager, debug=on\n",
    );
    desk.ccs("--lsquorum").expect(0, "Quorumd: label=q\n  heuristic: program=/bin/true\n");
    desk.refused("--rmheuristic program=x", 1, "Unable to find matching heuristic: program=x");
    desk.refused("--rmlogging name=x", 1, "Unable to find matching logging_daemon: name=x");
    desk.refused("--setuidgid uid=nobody", 1, "uidgid uid=nobody already exists in cluster.conf.");
    desk.refused("--setuidgid", 1, "--setuidgid takes uid= and gid=");
    for words in
        ["--rmheuristic program=/bin/true", "--rmlogging name=rgmanager", "--rmuidgid uid=nobody", "--setmulticast"]
    {
        desk.silent(words);
    }
    desk.ccs("--lsquorum").expect(0, "Quorumd: label=q\n");
    desk.silent("--exp clvmd interface=lo");
    assert!(desk.text().contains("\n  <clvmd interface=\"lo\"/>\n"), "{}", desk.text());
    desk.silent("--exprm clvmd");
    desk.refused("--exprm clvmd", 1, "Unable to find clvmd");
}

const WITH_COMMENTS: &str = "<!-- ours -->\n<cluster config_version=\"7\" name='prod' x-note=\"keep\">\n\t<clusternodes>\n\t\t\
    <clusternode   nodeid='1' name='a'/> <!-- first -->\n\t\t<clusternode nodeid='2' name='b'/>\n\t\t\
    <clusternode nodeid='3' name='c'/>\n\t</clusternodes>\n\t<unknown><![CDATA[<x>]]></unknown>\n\t\
    <rm><service name='web'/></rm>\n</cluster>\n";

#[test]
fn comments_and_what_nobody_knows_survive_every_change() {
    let desk = Desk::with(WITH_COMMENTS);
    desk.silent("--setlogging debug=on");
    desk.silent("--addaction web status interval=30");
    desk.silent("--rmaction web");
    desk.silent("--settotem token=20000");
    let changed = WITH_COMMENTS.replace("config_version=\"7\"", "config_version=\"11\"").replace(
        "<rm><service name='web'/></rm>\n",
        "<rm><service name='web'>\n</service></rm>\n\t<logging debug=\"on\"/>\n\t<totem token=\"20000\"/>\n",
    );
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").replace("> </", "></");
    assert_eq!(plain(&desk.text()), plain(&changed), "{}", desk.text());
    for kept in [
        "<!-- ours -->",
        "<!-- first -->",
        "x-note=\"keep\"",
        "<clusternode   nodeid='1' name='a'/>",
        "<![CDATA[<x>]]>",
    ] {
        assert!(desk.text().contains(kept), "{kept}");
    }
}

#[test]
fn a_value_cannot_break_out_of_its_place() {
    let desk = three_nodes();
    desk.silent("--setlogging logfile=/a\"/><evil/>&");
    desk.ccs("--lsmisc").expect(0, "Resource Manager: \nLogging: logfile=/a\"/><evil/>&\n");
    desk.refused("--setlogging a\"b=c", 1, "Invalid option: a\"b=c");
}

#[test]
fn ignore_writes_what_the_checks_refuse_and_old_errors_do_not_block_other_changes() {
    let desk = three_nodes();
    desk.refused("--addservice web domain=nowhere", 1, "nothing was changed: ");
    desk.silent("-i --addservice web domain=nowhere");
    assert!(desk.text().contains("domain=\"nowhere\""));
    desk.silent("--addservice mail");
    let ran = desk.ccs("--checkconf");
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("error: ") && ran.err.ends_with("has errors; no cluster can use it\n"), "{}", ran.err);
}

#[test]
fn a_file_keeps_its_mode_and_a_new_one_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |desk: &Desk| std::fs::metadata(desk.file()).unwrap().permissions().mode() & 0o777;
    let desk = Desk::new();
    desk.silent("--createcluster x");
    assert_eq!(mode(&desk), 0o600);
    std::fs::set_permissions(desk.file(), std::fs::Permissions::from_mode(0o644)).unwrap();
    desk.ccs("--addnode a");
    assert_eq!(mode(&desk), 0o644);
    assert_eq!(std::fs::read_dir(desk.directory.path()).unwrap().count(), 1, "nothing half-written is left");
}

#[test]
fn wrong_command_lines_change_nothing_and_say_so() {
    let desk = three_nodes();
    for words in ["", "--fly", "--addmethod m", "--addnode a b", "--lsnodes --getconf", "-k", "--setconf --x"] {
        desk.refused(words, 2, "");
    }
    for (words, sentence) in
        [("--getschema", "--getschema is not supported: "), ("--start", "--start needs -h with a host")]
    {
        desk.refused(words, 1, sentence);
    }
    desk.refused("--lsfenceopts", 2, "--lsfenceopts lists agents that are installed, which no file knows");
    let nothing = Desk::new();
    nothing.refused("--lsnodes", 1, "Unable to open file: ");
    let garbage = Desk::with("<cluster");
    garbage.refused("--addnode a", 1, "this is no cluster.conf: line 1: ");
    let help = desk.ccs("--help");
    assert!(help.code == 0 && help.out.starts_with("usage: ccs ") && help.err.is_empty());
    assert!(help.out.lines().all(|line| line.len() < 80), "fits a terminal");
}

#[test]
fn the_types_of_resources_and_their_attributes_are_listed() {
    let desk = Desk::new();
    let kinds = desk.ccs("--lsresourceopts");
    assert!(kinds.code == 0 && kinds.out.lines().any(|line| line.starts_with("ip - ")), "{}", kinds.out);
    let ip = desk.ccs("--lsresourceopts ip");
    assert!(ip.out.contains("\n  Required Options:\n    address\n  Optional Options:\n"), "{}", ip.out);
    let service = desk.ccs("--lsserviceopts service");
    assert!(service.out.contains("    recovery\n"), "{}", service.out);
    desk.refused("--lsresourceopts fly", 1, "there is no type 'fly'");
}

const IN_FORCE: &str = "<cluster name=\"prod\" config_version=\"7\">\n  <clusternodes>\n    \
    <clusternode name=\"a\" nodeid=\"1\"/>\n    <clusternode name=\"b\" nodeid=\"2\"/>\n    \
    <clusternode name=\"c\" nodeid=\"3\"/>\n  </clusternodes>\n  \
    <fencedevices><fencedevice name=\"d\" agent=\"fence_apc\"/></fencedevices>\n</cluster>\n";

/// An rgmanager that has this in force and takes what it is given.
fn running(in_force: &Arc<Mutex<String>>) -> FakeRgmanager {
    let in_force = Arc::clone(in_force);
    FakeRgmanager::start(move |ask| {
        let mut text = in_force.lock().unwrap();
        let version = |text: &str| load(text).conf.map_or(ConfVersion(0), |conf| conf.version);
        match ask {
            Ask::Conf => Say::Reply(Reply::Conf { version: version(&text), digest: digest(&text), text: text.clone() }),
            Ask::PutConf { text: new, .. } => {
                new.clone_into(&mut text);
                let result = PutConf::Accepted { version: version(&text), digest: digest(&text), findings: Vec::new() };
                Say::Reply(Reply::PutConf { result })
            }
            _ => Say::HangUp,
        }
    })
}

#[test]
fn without_f_and_h_the_cluster_of_this_node_is_changed_as_a_whole() {
    let in_force = Arc::new(Mutex::new(IN_FORCE.to_owned()));
    let fake = running(&in_force);
    fake.run("ccs", &["--addservice", "web"]).expect(0, "");
    let expected = IN_FORCE
        .replace("config_version=\"7\"", "config_version=\"8\"")
        .replace("</fencedevices>\n", "</fencedevices>\n  <rm>\n    <service name=\"web\"/>\n  </rm>\n");
    assert_eq!(*in_force.lock().unwrap(), expected);
    let origin = fake.asked().into_iter().find_map(|ask| match ask {
        Ask::PutConf { origin, .. } => Some(origin),
        _ => None,
    });
    assert!(origin.unwrap().starts_with("alice with ccs on "));
    fake.run("ccs", &["--getversion"]).expect(0, "8\n");
    let ran = fake.run("ccs", &["--addservice", "mail", "domain=nowhere"]);
    assert!(ran.code == 1 && ran.err.starts_with("ccs: nothing was changed: "), "{}", ran.err);
    assert_eq!(*in_force.lock().unwrap(), expected);
}

#[test]
fn checkconf_of_this_node_names_the_member_that_has_another_version() {
    let status = crate::fake::three_nodes();
    let mut behind = status.clone();
    behind.nodes[1].conf_version = Some(ConfVersion(41));
    for (status, code, out, err) in
        [(status, 0, "All nodes in sync.\n", ""), (behind, 1, "", "ccs: Node: node2 does not match\n")]
    {
        let fake = FakeRgmanager::start(move |ask| match ask {
            Ask::Status => Say::Reply(Reply::Status { status: Box::new(status.clone()) }),
            _ => Say::Reply(Reply::Conf { version: ConfVersion(7), digest: digest(IN_FORCE), text: IN_FORCE.into() }),
        });
        let ran = fake.run("ccs", &["--checkconf"]);
        // Warnings about nodes without fencing come first.
        assert_eq!((ran.code, ran.out.as_str()), (code, out));
        assert!(ran.err.ends_with(err) && (code == 0) != ran.err.contains("does not match"), "{}", ran.err);
    }
}

#[test]
fn what_is_not_complete_waits_as_a_draft_until_it_is() {
    let in_force = Arc::new(Mutex::new(IN_FORCE.to_owned()));
    let fake = running(&in_force);
    let ran = fake.run("ccs", &["--addmethod", "power", "a"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "Method power added to a.\n"));
    assert!(ran.err.starts_with("ccs: not sent to this node yet, kept in "), "{}", ran.err);
    assert!(ran.err.ends_with("fence method power has no devices\n"), "{}", ran.err);
    assert_eq!(*in_force.lock().unwrap(), IN_FORCE);
    fake.run("ccs", &["--addfenceinst", "d", "a", "power", "port=1"]).expect(0, "");
    assert!(in_force.lock().unwrap().contains("<device name=\"d\" port=\"1\"/>"));
    fake.run("ccs", &["--getversion"]).expect(0, "9\n");

    fake.run("ccs", &["--addmethod", "power", "b"]);
    *in_force.lock().unwrap() = IN_FORCE.replace("\"7\"", "\"20\"");
    let ran = fake.run("ccs", &["--addfenceinst", "d", "b", "power"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("has changed since the draft in "), "{}", ran.err);
    assert_eq!(*in_force.lock().unwrap(), IN_FORCE.replace("\"7\"", "\"20\""));
}
