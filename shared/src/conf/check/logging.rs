//! Rules for `<logging>` and the log level of `<rm>`.

use super::{Context, Rule};
use crate::conf::document::ElementId;
use crate::conf::logging::{FACILITIES, PRIORITIES};

pub(super) const RULES: &[Rule] = &[check_words, check_daemons, check_level];

/// What only corosync can do: rgmanager writes to the journal, or to the file that its init gives it.
const OF_COROSYNC: &[&str] = &["to_syslog", "to_logfile", "syslog_facility", "logfile", "logfile_priority"];

fn elements(ctx: &Context<'_>) -> Vec<ElementId> {
    let mut all = ctx.document.select("/cluster/logging");
    all.extend(ctx.document.select("/cluster/logging/logging_daemon"));
    all
}

/// Words that corosync would not start with.
fn check_words(ctx: &mut Context<'_>) {
    for element in elements(ctx) {
        for name in ["syslog_priority", "logfile_priority"] {
            if let Some(word) = ctx.text(element, name).filter(|word| !PRIORITIES.contains(word)) {
                let text = format!("{name}=\"{word}\" is not a priority");
                let hint = format!("write one of {}", PRIORITIES.join(", "));
                ctx.error("log-priority", ctx.document.attribute_place(element, name), text, hint);
            }
        }
        if let Some(word) = ctx.text(element, "syslog_facility").filter(|word| !FACILITIES.contains(word)) {
            let text = format!("syslog_facility=\"{word}\" is not a facility that can be used here");
            let hint = format!("write one of {}", FACILITIES.join(", "));
            ctx.error("log-facility", ctx.document.attribute_place(element, "syslog_facility"), text, hint);
        }
        if let Some(path) = ctx.text(element, "logfile").filter(|path| !path.starts_with('/') || path.ends_with('/')) {
            let text = format!("logfile=\"{path}\" is not the path of a file");
            let hint = "write the whole path, e.g. /var/log/cluster/corosync.log";
            ctx.error("log-file", ctx.document.attribute_place(element, "logfile"), text, hint);
        }
    }
}

fn check_daemons(ctx: &mut Context<'_>) {
    for element in ctx.document.select("/cluster/logging/logging_daemon") {
        let subsystem = ctx.text(element, "subsys");
        match ctx.text(element, "name") {
            Some("corosync") => {
                let plain = |word: &str| word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                if let Some(word) = subsystem.filter(|word| !plain(word)) {
                    let text = format!("{word} cannot be the name of a subsystem");
                    let hint = "write it as corosync does, e.g. TOTEM, QUORUM, CPG, KNET";
                    ctx.error("log-subsystem", ctx.document.attribute_place(element, "subsys"), text, hint);
                }
            }
            Some("rgmanager") => {
                for name in OF_COROSYNC {
                    if ctx.text(element, name).is_some() {
                        let text = format!("{name} of rgmanager has no effect");
                        let hint = "rgmanager writes to the journal; debug and syslog_priority say how much";
                        ctx.info("no-effect", ctx.document.attribute_place(element, name), text, hint);
                    }
                }
            }
            Some(name) => {
                let text = format!("what is said of logging of {name} has no effect");
                let hint = "only corosync and rgmanager log by this file; fencing is part of rgmanager";
                ctx.info("no-effect", ctx.document.place(element), text, hint);
            }
            None => {
                let text = "<logging_daemon> lacks the attribute name".to_owned();
                ctx.error(
                    "name-missing",
                    ctx.document.place(element),
                    text,
                    "add name=\"corosync\" or name=\"rgmanager\"",
                );
            }
        }
    }
}

fn check_level(ctx: &mut Context<'_>) {
    let Some(&rm) = ctx.document.select("/cluster/rm").first() else { return };
    if let Some(level) = ctx.text(rm, "log_level").filter(|text| text.parse::<u8>().is_ok_and(|level| level > 7)) {
        let text = format!("log_level=\"{level}\" is no level");
        let hint = "write a number from 0 (emergencies only) to 7 (everything)";
        ctx.error("log-level", ctx.document.attribute_place(rm, "log_level"), text, hint);
    }
    if ctx.text(rm, "log_facility").is_some() {
        let text = "log_facility of <rm> has no effect".to_owned();
        let hint = "rgmanager writes to the journal; its unit says SyslogFacility=";
        ctx.info("no-effect", ctx.document.attribute_place(rm, "log_facility"), text, hint);
    }
}
