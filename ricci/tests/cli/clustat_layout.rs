//! The layouts of `clustat`, drawn from a status without any daemon: columns, cut names, flags, XML, what waits for
//! fencing. Scripts of the field cut these columns.

use crate::fake::{cluster, node, offline, service, three_nodes, with_victim};
use ricci::cli::clock::Zone;
use ricci::cli::clustat::{Page, render_text, render_xml};
use shared::ids::{NodeName, ServiceName, Time};
use shared::status::{ClusterStatus, Membership, NodeStatus, Reason, ServiceStatus};
use shared::text::ServiceState;
use time::UtcOffset;

const NOW: Time = Time(1_793_872_800_000);

fn page(status: &ClusterStatus) -> Page<'_> {
    Page::whole(status, NOW, Zone::Fixed(UtcOffset::UTC))
}

fn text(status: &ClusterStatus) -> String {
    render_text(&page(status))
}

#[test]
fn the_plain_page_has_the_columns_of_the_field() {
    let expected = "\
Cluster Status for prod @ Thu Nov  5 10:00:00 2026
Member Status: Quorate

 Member Name                             ID   Status
 ------ ----                             ---- ------
 node1                                       1 Online, Local, rgmanager
 node2                                       2 Online, rgmanager
 node3                                       3 Offline

 Service Name                   Owner (Last)                   State         
 ------- ----                   ----- ------                   -----         
 service:db                     (node2)                        disabled      
 service:web                    node1                          started       
 vm:guest1                      node1                          started    [Z]
";
    assert_eq!(text(&three_nodes()), expected);
}

#[test]
fn columns_stand_where_scripts_cut_them() {
    for (width, id_end, status, owner, state) in [(80, 46, 47, 32, 63), (200, 70, 71, 66, 131), (100, 56, 57, 42, 83)] {
        let status_of = three_nodes();
        let drawn = render_text(&Page { width, ..page(&status_of) });
        let lines: Vec<&str> = drawn.lines().collect();
        let (head, row) = (lines[3], lines[5]);
        // The id's head stands one column to the left of the ids' first column.
        assert_eq!(head.find("ID"), Some(id_end - 5), "{width}");
        assert_eq!(head.find("Status"), Some(status - 1), "{width}");
        assert_eq!(&row[id_end - 4..id_end], "   1", "{width}");
        assert_eq!(row.find("Online"), Some(status), "{width}");
        let (head, row) = (lines[9], lines[12]);
        assert_eq!((head.find("Owner (Last)"), head.find("State ")), (Some(owner), Some(state)), "{width}");
        assert_eq!((row.find("node1"), row.find("started")), (Some(owner), Some(state)), "{width}");
        assert_eq!(row.len(), state + 14, "{width}: the state column is padded to 14");
    }
}

#[test]
fn long_names_are_cut_and_move_no_column() {
    for length in [1, 40, 63, 255] {
        let name = "n".repeat(length);
        let service_name = format!("service:{}", "s".repeat(length));
        let status = cluster(
            vec![node(1, &name)],
            vec![
                service(&service_name, ServiceState::Started, Some(&name), None),
                service("vm:last", ServiceState::Stopped, None, Some(&name)),
            ],
        );
        for (width, names, services) in [(80, 40, 30), (200, 64, 64)] {
            let drawn = render_text(&Page { width, ..page(&status) });
            let lines: Vec<&str> = drawn.lines().collect();
            let shown = "n".repeat(length.min(names));
            assert_eq!(lines[5], format!(" {shown:<names$}    1 Online, Local, rgmanager"), "{length} at {width}");
            let cut: String = service_name.chars().take(services).collect();
            let owner = "n".repeat(length.min(services));
            assert_eq!(lines[9], format!(" {cut:<services$} {owner:<services$} started       "), "{length} at {width}");
            let last = format!("({})", "n".repeat(length.min(services - 2)));
            assert_eq!(lines[10], format!(" {:<services$} {last:<services$} stopped       ", "vm:last"));
        }
    }
}

#[test]
fn a_large_cluster_is_listed_whole_by_id_and_by_name() {
    let nodes = (1..=32).rev().map(|id| node(id, &format!("node{id}"))).collect();
    let services = (0..500)
        .rev()
        .map(|number| service(&format!("service:s{number:03}"), ServiceState::Started, Some("node7"), None))
        .collect();
    let drawn = text(&cluster(nodes, services));
    let lines: Vec<&str> = drawn.lines().collect();
    assert_eq!(lines.len(), 5 + 32 + 3 + 500);
    assert!(lines[5].starts_with(" node1 ") && lines[36].starts_with(" node32 "));
    assert!(lines[40].starts_with(" service:s000 ") && lines[539].starts_with(" service:s499 "));
}

#[test]
fn a_stranger_is_shown_while_it_is_online_only() {
    let stranger = NodeStatus { configured: false, ..node(9, "stranger") };
    let gone = NodeStatus { configured: false, ..offline(10, "gone") };
    let drawn = text(&cluster(vec![node(1, "node1"), stranger, gone], Vec::new()));
    assert!(drawn.contains("    9 Online, Estranged, rgmanager\n"), "{drawn}");
    assert!(!drawn.contains("gone"));
}

#[test]
fn rgmanager_is_shown_only_for_nodes_that_may_be_given_services() {
    for member in [Membership::Absent, Membership::Joining, Membership::Grace, Membership::Lost, Membership::Victim] {
        let drawn = text(&cluster(vec![NodeStatus { member, ..node(1, "node1") }], Vec::new()));
        assert!(drawn.ends_with("    1 Online, Local\n\n"), "{member:?}: {drawn}");
    }
}

#[test]
fn states_that_nobody_holds_show_the_last_owner_in_parentheses() {
    use ServiceState::*;
    for (state, expected) in [
        (Stopped, "(node2)"),
        (Disabled, "(node2)"),
        (Failed, "(node2)"),
        (Recoverable, "(node2)"),
        (Starting, "node1"),
        (Started, "node1"),
        (Stopping, "node1"),
        (Migrating, "node1"),
    ] {
        let status = cluster(vec![node(1, "node1")], vec![service("service:a", state, Some("node1"), Some("node2"))]);
        let row = format!(" {:<30} {expected:<30} {:<14}\n", "service:a", state.name());
        assert!(text(&status).ends_with(&row), "{}", text(&status));
    }
    let never = cluster(vec![node(1, "node1")], vec![service("service:a", Stopped, None, None)]);
    assert!(text(&never).contains(" (none) "));
}

#[test]
fn flags_end_the_state_column_exactly() {
    for (frozen, partial, expected) in
        [(true, false, "started    [Z]"), (false, true, "started    [P]"), (true, true, "started   [ZP]")]
    {
        let flagged =
            ServiceStatus { frozen, partial, ..service("service:a", ServiceState::Started, Some("node1"), None) };
        let drawn = text(&cluster(vec![node(1, "node1")], vec![flagged]));
        assert!(drawn.ends_with(&format!(" {expected}\n")), "{drawn}");
    }
}

#[test]
fn without_quorum_and_without_members_the_page_says_so() {
    let mut status = cluster(Vec::new(), Vec::new());
    status.quorum.quorate = false;
    assert_eq!(
        render_text(&Page { services_known: false, ..page(&status) }),
        "Cluster Status for prod @ Thu Nov  5 10:00:00 2026\n\
         Member Status: Inquorate\n\n\
         Resource Group Manager not running; no service information available.\n\n\
         Membership information not available\n"
    );
}

#[test]
fn the_long_form_tells_numbers_and_times() {
    let status = three_nodes();
    let drawn = render_text(&Page { long: true, only_service: Some(ServiceName::from("vm:guest1")), ..page(&status) });
    assert_eq!(
        drawn,
        "\
Service Information
------- -----------

Service Name      : vm:guest1
  Current State   : started (112)
  Flags           : frozen (1)
  Owner           : node1
  Last Owner      : none
  Last Transition : Thu Nov  5 09:59:58 2026

"
    );
    let whole = render_text(&Page { long: true, ..page(&status) });
    assert_eq!(whole.matches("  Last Transition : ").count(), 3);
    assert!(
        whole.contains("3 Offline\n\nService Information\n------- -----------\n\nService Name      : service:db\n")
    );
}

#[test]
fn one_member_or_one_service_is_a_table_of_one_row() {
    let status = three_nodes();
    let member = Page { only_member: Some(NodeName::from("node2")), ..page(&status) };
    assert_eq!(
        render_text(&member),
        " Member Name                             ID   Status\n \
         ------ ----                             ---- ------\n \
         node2                                       2 Online, rgmanager\n"
    );
    let service = Page { only_service: Some(ServiceName::parse("web")), ..page(&status) };
    let drawn = render_text(&service);
    assert_eq!(drawn.lines().count(), 3);
    assert!(drawn.starts_with(" Service Name "));
    assert!(drawn.ends_with(" service:web                    node1                          started       \n"));
}

#[test]
fn xml_is_what_readers_of_the_field_parse() {
    let expected = "\
<?xml version=\"1.0\"?>
<clustat version=\"4.1.1\">
  <cluster name=\"prod\" id=\"1674\" generation=\"0\"/>
  <quorum quorate=\"1\" groupmember=\"1\"/>
  <nodes>
    <node name=\"node1\" state=\"1\" local=\"1\" estranged=\"0\" rgmanager=\"1\" rgmanager_master=\"0\" qdisk=\"0\" nodeid=\"0x00000001\"/>
    <node name=\"node2\" state=\"1\" local=\"0\" estranged=\"0\" rgmanager=\"1\" rgmanager_master=\"0\" qdisk=\"0\" nodeid=\"0x00000002\"/>
    <node name=\"node3\" state=\"0\" local=\"0\" estranged=\"0\" rgmanager=\"0\" rgmanager_master=\"0\" qdisk=\"0\" nodeid=\"0x00000003\"/>
  </nodes>
  <groups>
    <group name=\"service:db\" state=\"119\" state_str=\"disabled\" flags=\"0\" flags_str=\"\" owner=\"none\" last_owner=\"node2\" restarts=\"0\" last_transition=\"1793872798\" last_transition_str=\"Thu Nov  5 09:59:58 2026\"/>
    <group name=\"service:web\" state=\"112\" state_str=\"started\" flags=\"0\" flags_str=\"\" owner=\"node1\" last_owner=\"none\" restarts=\"0\" last_transition=\"1793872798\" last_transition_str=\"Thu Nov  5 09:59:58 2026\"/>
    <group name=\"vm:guest1\" state=\"112\" state_str=\"started\" flags=\"1\" flags_str=\"frozen\" owner=\"node1\" last_owner=\"none\" restarts=\"0\" last_transition=\"1793872798\" last_transition_str=\"Thu Nov  5 09:59:58 2026\"/>
  </groups>
</clustat>
";
    assert_eq!(render_xml(&page(&three_nodes())), expected);
}

#[test]
fn xml_tells_the_ring_as_the_generation() {
    let status = three_nodes();
    let drawn = render_xml(&Page { generation: Some(1234), ..page(&status) });
    assert!(drawn.contains("  <cluster name=\"prod\" id=\"1674\" generation=\"1234\"/>\n"), "{drawn}");
}

#[test]
fn colours_mark_what_is_amiss_and_move_no_column() {
    let mut status = three_nodes();
    status.quorum.quorate = false;
    status.services[0].state = ServiceState::Failed;
    status.services[1].state = ServiceState::Recovering;
    let colored = render_text(&Page { color: true, ..page(&status) });
    for marked in [
        "Member Status: \x1b[31mInquorate\x1b[m\n",
        "    3 \x1b[31mOffline\x1b[m\n",
        " \x1b[31mfailed        \x1b[m\n",
        " \x1b[33mrecovering    \x1b[m\n",
        " \x1b[33mstarted    [Z]\x1b[m\n",
    ] {
        assert!(colored.contains(marked), "{marked:?} in {colored:?}");
    }
    let bare = colored.replace("\x1b[31m", "").replace("\x1b[33m", "").replace("\x1b[m", "");
    assert_eq!(bare, text(&status));
}

#[test]
fn xml_of_one_member_or_service_leaves_out_the_rest() {
    let status = three_nodes();
    let member = render_xml(&Page { only_member: Some(NodeName::from("node3")), ..page(&status) });
    assert!(!member.contains("<cluster") && !member.contains("<groups"));
    assert_eq!(member.matches("<node ").count(), 1);
    let service = render_xml(&Page { only_service: Some(ServiceName::parse("db")), ..page(&status) });
    assert!(!service.contains("<quorum") && !service.contains("<nodes"));
    assert_eq!(service.matches("<group ").count(), 1);
}

#[test]
fn xml_without_quorum_or_members_or_services_stays_well_formed() {
    let mut status = cluster(Vec::new(), Vec::new());
    status.quorum.quorate = false;
    let drawn = render_xml(&Page { services_known: false, ..page(&status) });
    assert!(drawn.contains("  <quorum quorate=\"0\"\n groupmember=\"0\"/>\n  <nodes/>\n</clustat>\n"), "{drawn}");
}

#[test]
fn xml_escapes_names() {
    let status = cluster(vec![node(1, "a<b>&\"c\"")], Vec::new());
    assert!(render_xml(&page(&status)).contains("name=\"a&lt;b&gt;&amp;&quot;c&quot;\""));
}

#[test]
fn below_the_tables_stands_why_everything_waits_and_what_to_do() {
    let advice = "Correct the password of fence device 'bmc3'.";
    let mut status = with_victim("Failed: wrong\n password\x1b[2J", advice);
    status.services[0].waits_for = Some(Reason::FencingPending { nodes: vec![NodeName::from("node3")] });
    let drawn = text(&status);
    let block = drawn.split("\n\n").last().unwrap();
    assert_eq!(
        block,
        "\
Fencing of node3: attempt 3, method 'power' is running on node1, since Thu Nov  5 09:58:20 2026
  Last attempt : failed on node2, method 'power', Thu Nov  5 09:59:20 2026: fence_ipmilan (device 'bmc3') exit code 1: Failed: wrong password [2J
  Waiting      : service:db
  What to do   : Correct the password of fence device 'bmc3'.
"
    );
    let long = render_text(&Page { long: true, ..page(&status) });
    assert!(long.contains("\n\nFencing of node3: ") && !long.contains("\n\n\n"));
    let one = render_text(&Page { only_service: Some(ServiceName::parse("db")), ..page(&status) });
    assert!(!one.contains("Fencing"), "the short forms stay short");
}

#[test]
fn exit_codes_are_those_of_the_field() {
    use ServiceState::*;
    for state in [
        Stopped,
        Starting,
        Started,
        Stopping,
        Failed,
        Uninitialized,
        Checking,
        Recoverable,
        Recovering,
        Disabled,
        Migrating,
    ] {
        let status = cluster(vec![node(1, "node1")], vec![service("service:a", state, None, None)]);
        let expected = if matches!(state, Starting | Started | Stopping) { 0 } else { state.number() };
        let asked = Page { only_service: Some(ServiceName::parse("a")), ..page(&status) };
        assert_eq!((asked.exit_code(), asked.exit_code_xml()), (expected, expected), "{state:?}");
    }
    let status = three_nodes();
    let member = |name: &str| Page { only_member: Some(NodeName::from(name)), ..page(&status) };
    assert_eq!([member("node1").exit_code(), member("node3").exit_code(), member("x").exit_code()], [0, 1, 255]);
    assert_eq!([member("node3").exit_code_xml(), member("x").exit_code_xml()], [1, 0]);
    let service = |name: &str| Page { only_service: Some(ServiceName::parse(name)), ..page(&status) };
    assert_eq!([service("x").exit_code(), service("x").exit_code_xml()], [255, 0]);
    let unknown = Page { services_known: false, ..service("web") };
    assert_eq!([unknown.exit_code(), unknown.exit_code_xml()], [255, 255], "nobody knows is no success");
    assert_eq!(page(&status).exit_code(), 0);
}
