//! Row by row: every type of the original with its attributes against the table of today (rhcs.md §5.9).
//!
//! A row is the type, its attributes and the agent that runs it now. `*` names the resource and is therefore needed, `!` is required, `+` unique, `<x`
//! inherited; `=` gives the default of the original. A default that the agent of today has as well, or that asks for nothing, needs
//! no translation; one that differs must reach the agent.

#![expect(clippy::print_stdout, reason = "the table is what this test is read for")]

use shared::agents::kinds::{Becomes, Kind, Runs};
use shared::agents::mapping;

const ROWS: &[(&str, &str, &str)] = &[
    (
        "vm",
        "name*! domain autostart exclusive recovery migration_mapping use_virsh xmlfile migrate migrate_options tunnelled path \
         snapshot depend depend_mode max_restarts restart_expire_time status_program hypervisor hypervisor_uri migration_uri \
         no_kill",
        "ocf:heartbeat:VirtualDomain",
    ),
    (
        "ip",
        "address*! family monitor_link nfslock<service%nfslock sleeptime disable_rdisc prefer_interface",
        "ocf:heartbeat:IPaddr2",
    ),
    (
        "fs",
        "name*! mountpoint!+ device!+ fstype force_unmount quick_status self_fence nfslock<nfslock nfsrestart fsid force_fsck \
         options use_findmnt",
        "ocf:heartbeat:Filesystem",
    ),
    (
        "clusterfs",
        "name*! mountpoint!+ device!+ fstype force_unmount self_fence fsid nfslock<service%nfslock nfsrestart options use_findmnt",
        "ocf:heartbeat:Filesystem",
    ),
    (
        "netfs",
        "name*! mountpoint!+ host! export! fstype no_unmount force_unmount self_fence options use_findmnt",
        "ocf:heartbeat:Filesystem",
    ),
    ("bind-mount", "name*! mountpoint!+ source! force_unmount", "ocf:heartbeat:Filesystem"),
    ("lvm", "name*! vg_name! lv_name self_fence nfslock<service%nfslock", "ocf:heartbeat:LVM-activate"),
    ("script", "name*! file!+ service_name<service%name", "lsb"),
    ("nfsserver", "name*! path<mountpoint nfspath statdport krbhost", "ocf:heartbeat:nfsserver"),
    ("nfsexport", "name*! device<device path<mountpoint fsid<fsid", "grouping"),
    (
        "nfsclient",
        "name*! target! path<path svcname<service%name fsid<fsid options allow_recover service_name<service%name \
         use_cache<service%nfs_client_cache",
        "ocf:heartbeat:exportfs",
    ),
    (
        "samba",
        "name*! config_file smbd_options nmbd_options shutdown_wait service_name<service%name",
        "systemd:smb.service",
    ),
    ("smb", "name*! workgroup service_name<service%name", "systemd:smb.service"),
    (
        "apache",
        "name*! httpd server_root config_file httpd_options shutdown_wait service_name<service%name",
        "ocf:heartbeat:apache",
    ),
    (
        "mysql",
        "name*! config_file listen_address mysqld_options startup_wait shutdown_wait service_name<service%name",
        "ocf:heartbeat:mysql",
    ),
    (
        "postgres-8",
        "name*! config_file postmaster_user postmaster_options startup_wait service_name<service%name",
        "ocf:heartbeat:pgsql",
    ),
    (
        "named",
        "name*! config_file named_sdb named_working_dir named_options update_source shutdown_wait service_name<service%name",
        "ocf:heartbeat:named",
    ),
    (
        "openldap",
        "name*! config_file url_list slapd_options shutdown_wait service_name<service%name",
        "ocf:heartbeat:slapd",
    ),
    (
        "tomcat-5",
        "name*! config_file tomcat_user catalina_options catalina_base shutdown_wait service_name<service%name",
        "ocf:heartbeat:tomcat",
    ),
    ("tomcat-6", "name*! config_file shutdown_wait service_name<service%name", "ocf:heartbeat:tomcat"),
    ("drbd", "name*! resource!+", "not"),
    ("oracledb", "name*! listener_name+ user! home! type vhost+ tns_admin+", "ocf:heartbeat:oracle"),
    ("orainstance", "name*! user! home! listeners lockfile tns_admin+", "ocf:heartbeat:oracle"),
    ("oralistener", "name*! user! home! tns_admin+", "ocf:heartbeat:oralsnr"),
    ("oradg", "name*! user! home! listeners vhost lockfile tns_admin", "not"),
    (
        "SAPDatabase",
        "SID*! DIR_EXECUTABLE DBTYPE! NETSERVICENAME DBJ2EE_ONLY JAVA_HOME STRICT_MONITORING AUTOMATIC_RECOVER DIR_BOOTSTRAP \
         DIR_SECSTORE DB_JARS PRE_START_USEREXIT POST_START_USEREXIT PRE_STOP_USEREXIT POST_STOP_USEREXIT",
        "ocf:heartbeat:SAPDatabase",
    ),
    (
        "SAPInstance",
        "InstanceName*! DIR_EXECUTABLE DIR_PROFILE START_PROFILE START_WAITTIME AUTOMATIC_RECOVER PRE_START_USEREXIT \
         POST_START_USEREXIT PRE_STOP_USEREXIT POST_STOP_USEREXIT",
        "ocf:heartbeat:SAPInstance",
    ),
    (
        // Those with a default need not be written.
        "ASEHAagent",
        "name*! sybase_home! sybase_ase sybase_ocs server_name! login_file interfaces_file sybase_user shutdown_timeout \
         start_timeout deep_probe_timeout",
        "ocf:heartbeat:sybaseASE",
    ),
    ("db2", "instance*!+ dblist dbpartitionnum", "ocf:heartbeat:db2"),
];

/// Types that are not of the original.
const OURS: [&str; 2] = ["systemd", "ocf"];

fn runner(kind: &Kind) -> String {
    match kind.runs {
        Runs::Ocf { provider, agent } => format!("ocf:{provider}:{agent}"),
        Runs::Systemd { unit } => format!("systemd:{unit}"),
        Runs::LsbByFile => "lsb".into(),
        Runs::Grouping => "grouping".into(),
        Runs::Not { .. } => "not".into(),
        Runs::OcfByAttributes | Runs::SystemdByUnit => "free".into(),
    }
}

/// Name, flags, source of inheritance.
fn parse(word: &str) -> (&str, &str, Option<&str>) {
    let (left, inherits) = word.split_once('<').map_or((word, None), |(left, from)| (left, Some(from)));
    let end = left.find(['*', '!', '+']).unwrap_or(left.len());
    (&left[..end], &left[end..], inherits)
}

#[test]
fn every_row_of_the_original_is_in_the_table_with_every_attribute() {
    let mut faults = Vec::new();
    for (name, attributes, agent) in ROWS {
        let Some(kind) = mapping::kind(name) else {
            faults.push(format!("{name}: no such type"));
            continue;
        };
        let mut fault = |what: String| faults.push(format!("{name}: {what}"));
        if runner(kind) != *agent {
            fault(format!("is run by {}, not by {agent}", runner(kind)));
        }
        let mut ignored = 0;
        for (attribute, flags, inherits) in attributes.split_whitespace().map(parse) {
            if flags.contains('*') && kind.primary != attribute {
                fault(format!("is named by {}, not by {attribute}", kind.primary));
            }
            let Some(row) = kind.attribute(attribute) else {
                if !kind.free_attributes {
                    fault(format!("lacks {attribute}"));
                }
                continue;
            };
            ignored += usize::from(matches!(row.becomes, Becomes::Ignored(_)));
            if row.required != flags.contains('!') && !(row.required && inherits.is_some()) {
                fault(format!("{attribute}: required is {}", row.required));
            }
            let counts = !matches!(row.becomes, Becomes::Ignored(_));
            if counts && flags.contains('+') && !row.unique && kind.primary != attribute {
                fault(format!("{attribute} is not unique"));
            }
            let from = row.inherits.map(|from| match from.kind {
                Some(kind) => format!("{kind}%{}", from.attribute),
                None => from.attribute.to_owned(),
            });
            if from.as_deref() != inherits {
                fault(format!("{attribute} inherits {from:?}, not {inherits:?}"));
            }
        }
        println!(
            "{name:<12} {:<28} {:>2} attributes, {ignored} without successor",
            runner(kind),
            attributes.split_whitespace().count()
        );
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let unknown: Vec<&str> =
        mapping::kinds().iter().map(|kind| kind.name).filter(|name| !ROWS.iter().any(|row| row.0 == *name)).collect();
    assert_eq!(unknown, OURS);
}

/// What the agents of today cannot be told is told to the administrator, attribute by attribute.
#[test]
fn each_attribute_without_successor_is_a_finding() {
    let mut checked = 0;
    for (name, _, _) in ROWS {
        let kind = mapping::kind(name).unwrap();
        for attribute in kind.attributes.iter().filter(|attribute| matches!(attribute.becomes, Becomes::Ignored(_))) {
            let text = format!(
                "<cluster name=\"c\" config_version=\"1\"><clusternodes><clusternode name=\"a\" nodeid=\"1\"/></clusternodes><rm>\
                 <service name=\"s\"><{name} {}=\"x\"/></service></rm></cluster>",
                attribute.name
            );
            let text =
                if *name == "vm" { text.replace("<service name=\"s\">", "").replace("</service>", "") } else { text };
            let findings = shared::conf::load(&text).findings;
            let words = format!("{} of <{name}> has no effect", attribute.name);
            assert!(findings.iter().any(|finding| finding.text == words), "{words}: {findings:?}");
            checked += 1;
        }
    }
    assert!(checked > 30, "{checked}");
}
