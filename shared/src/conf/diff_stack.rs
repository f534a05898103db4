//! Differences in what corosync runs on: links, quorum device, logging. Part of `diff`.

use std::fmt::Display;

use super::diff::{ChangeKind, Changes};
use super::logging::{LogSettings, PRIORITIES};
use super::model::{Conf, LinkSettings};
use super::qdevice::Qdevice;

pub(super) fn diff_stack(changes: &mut Changes, old: &Conf, new: &Conf) {
    changes.compare("totem", "link mode", &old.totem.link_mode.name(), &new.totem.link_mode.name());
    diff_links(changes, &old.totem.links, &new.totem.links);
    match (&old.qdevice, &new.qdevice) {
        (None, Some(_)) => changes.push(ChangeKind::Added, "quorum device", String::new()),
        (Some(_), None) => changes.push(ChangeKind::Removed, "quorum device", String::new()),
        (Some(old), Some(new)) => diff_qdevice(changes, old, new),
        (None, None) => {}
    }
    let level = |conf: &Conf| conf.rm.log_level.map(|level| PRIORITIES[level]);
    compare(changes, "rm", "log level", level(old), level(new));
    let (before, after) = (&old.logging, &new.logging);
    diff_log(changes, "logging", &before.all, &after.all);
    diff_log(changes, "logging of corosync", &before.corosync, &after.corosync);
    diff_log(changes, "logging of rgmanager", &before.rgmanager, &after.rgmanager);
    let silent = LogSettings::default();
    let of = |list: &[(String, LogSettings)], name: &str| {
        list.iter().find(|(known, _)| known == name).map_or_else(|| silent.clone(), |(_, settings)| settings.clone())
    };
    let mut names: Vec<&String> = before.subsystems.iter().chain(&after.subsystems).map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    for name in names {
        let subject = format!("logging of corosync, {name}");
        diff_log(changes, &subject, &of(&before.subsystems, name), &of(&after.subsystems, name));
    }
}

fn compare<T: Display>(changes: &mut Changes, subject: &str, what: &str, old: Option<T>, new: Option<T>) {
    let text = |value: Option<T>| value.map_or_else(|| "default".to_owned(), |value| value.to_string());
    changes.compare(subject, what, &text(old), &text(new));
}

fn diff_links(changes: &mut Changes, old: &[LinkSettings], new: &[LinkSettings]) {
    let of =
        |list: &[LinkSettings], number| list.iter().find(|link| link.number == number).cloned().unwrap_or_default();
    let mut numbers: Vec<u32> = old.iter().chain(new).map(|link| link.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    for number in numbers {
        let (before, after, subject) = (of(old, number), of(new, number), format!("link {number}"));
        compare(changes, &subject, "port", before.port, after.port);
        compare(changes, &subject, "priority", before.priority, after.priority);
        compare(changes, &subject, "ping interval (ms)", before.ping_interval_ms, after.ping_interval_ms);
        compare(changes, &subject, "ping timeout (ms)", before.ping_timeout_ms, after.ping_timeout_ms);
        compare(changes, &subject, "pong count", before.pong_count, after.pong_count);
    }
}

fn diff_qdevice(changes: &mut Changes, old: &Qdevice, new: &Qdevice) {
    let subject = "quorum device";
    changes.compare(subject, "host", &old.host, &new.host);
    changes.compare(subject, "port", &old.port, &new.port);
    changes.compare(subject, "algorithm", &old.algorithm.name(), &new.algorithm.name());
    compare(changes, subject, "votes", old.votes, new.votes);
    compare(changes, subject, "tie breaker", old.tie_breaker.as_ref(), new.tie_breaker.as_ref());
    compare(changes, subject, "TLS", old.tls.as_ref(), new.tls.as_ref());
    compare(changes, subject, "timeout (ms)", old.timeout_ms, new.timeout_ms);
    compare(changes, subject, "sync timeout (ms)", old.sync_timeout_ms, new.sync_timeout_ms);
    compare(changes, subject, "heuristics", old.heuristics_mode.as_ref(), new.heuristics_mode.as_ref());
    if old.heuristics != new.heuristics {
        changes.push(ChangeKind::Changed, subject, "programs of the heuristics changed".to_owned());
    }
}

fn diff_log(changes: &mut Changes, subject: &str, old: &LogSettings, new: &LogSettings) {
    let flag = |on: Option<bool>| on.map(|on| if on { "on" } else { "off" });
    compare(changes, subject, "to_syslog", flag(old.to_syslog), flag(new.to_syslog));
    compare(changes, subject, "to_logfile", flag(old.to_logfile), flag(new.to_logfile));
    compare(changes, subject, "syslog_facility", old.syslog_facility.as_ref(), new.syslog_facility.as_ref());
    compare(changes, subject, "syslog_priority", old.syslog_priority.as_ref(), new.syslog_priority.as_ref());
    compare(changes, subject, "logfile", old.logfile.as_ref(), new.logfile.as_ref());
    compare(changes, subject, "logfile_priority", old.logfile_priority.as_ref(), new.logfile_priority.as_ref());
    compare(changes, subject, "debug", flag(old.debug), flag(new.debug));
}
