//! `<logging>` and `<logging_daemon>` (rhcs.md §6.3): what is logged and where, for all, per daemon and per subsystem of
//! corosync. Two daemons read it: corosync, through the corosync.conf rendered from it, and rgmanager, which writes to
//! the journal (or the file that its init gives it) and takes only how much it says.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::document::ElementId;
use super::model::Conf;
use super::view::Reader;
use crate::agents::mapping::is_true;

/// Words for `syslog_priority` and `logfile_priority`, the gravest first (corosync.conf(5)).
pub const PRIORITIES: &[&str] = &["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// Words for `syslog_facility` (corosync.conf(5)).
pub const FACILITIES: &[&str] =
    &["daemon", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"];

/// One element; what is `None` is inherited: subsystem, daemon, all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogSettings {
    pub to_syslog: Option<bool>,
    pub to_logfile: Option<bool>,
    pub syslog_facility: Option<String>,
    pub syslog_priority: Option<String>,
    /// A whole path.
    pub logfile: Option<String>,
    pub logfile_priority: Option<String>,
    pub debug: Option<bool>,
}

impl LogSettings {
    /// These, and where they are silent those.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self {
            to_syslog: self.to_syslog.or(other.to_syslog),
            to_logfile: self.to_logfile.or(other.to_logfile),
            syslog_facility: self.syslog_facility.clone().or_else(|| other.syslog_facility.clone()),
            syslog_priority: self.syslog_priority.clone().or_else(|| other.syslog_priority.clone()),
            logfile: self.logfile.clone().or_else(|| other.logfile.clone()),
            logfile_priority: self.logfile_priority.clone().or_else(|| other.logfile_priority.clone()),
            debug: self.debug.or(other.debug),
        }
    }
}

/// Everything that is said of logging.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Logging {
    /// `<logging>` itself.
    pub all: LogSettings,
    /// `<logging_daemon name="corosync">` without a subsystem.
    pub corosync: LogSettings,
    /// `<logging_daemon name="corosync" subsys=>`: subsystem and settings, in document order.
    pub subsystems: Vec<(String, LogSettings)>,
    /// `<logging_daemon name="rgmanager">`.
    pub rgmanager: LogSettings,
}

impl Conf {
    /// The folder of the file that corosync is told to log to, if it is told one.
    pub fn log_folder(&self) -> Option<&Path> {
        let file = self.logging.corosync.logfile.as_deref().or(self.logging.all.logfile.as_deref())?;
        Path::new(file).parent()
    }

    /// How much rgmanager says, as an index into [`PRIORITIES`]: what is at most so grave is left out. `None`: as it was
    /// started. Its own element counts before `<rm log_level=>`, that before `<logging>`.
    pub fn log_level(&self) -> Option<usize> {
        let of = |settings: &LogSettings| match settings.debug {
            Some(true) => Some(PRIORITIES.len() - 1),
            _ => settings.syslog_priority.as_deref().and_then(priority_level),
        };
        of(&self.logging.rgmanager).or(self.rm.log_level).or_else(|| of(&self.logging.all))
    }
}

/// The number of a priority: 0 is the gravest.
pub fn priority_level(word: &str) -> Option<usize> {
    PRIORITIES.iter().position(|known| *known == word)
}

impl Reader<'_> {
    pub(super) fn read_logging(&mut self) -> Logging {
        let mut logging = Logging::default();
        let Some(element) = self.document.select("/cluster/logging").first().copied() else { return logging };
        logging.all = self.read_log_settings(element);
        let daemons: Vec<ElementId> = self.document.children_named(element, "logging_daemon").collect();
        for daemon in daemons {
            let settings = self.read_log_settings(daemon);
            match (self.text(daemon, "name"), self.text(daemon, "subsys")) {
                (Some("corosync"), Some(subsys)) => logging.subsystems.push((subsys.to_owned(), settings)),
                (Some("corosync"), None) => logging.corosync = settings,
                (Some("rgmanager"), _) => logging.rgmanager = settings,
                _ => {}
            }
        }
        logging
    }

    fn read_log_settings(&self, element: ElementId) -> LogSettings {
        let text = |name: &str| self.text(element, name).map(str::to_owned);
        let flag = |name: &str| self.text(element, name).map(is_true);
        LogSettings {
            to_syslog: flag("to_syslog"),
            to_logfile: flag("to_logfile"),
            syslog_facility: text("syslog_facility"),
            syslog_priority: text("syslog_priority"),
            logfile: text("logfile"),
            logfile_priority: text("logfile_priority"),
            debug: flag("debug"),
        }
    }
}
