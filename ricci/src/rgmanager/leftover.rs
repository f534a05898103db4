//! Ends the runs that a killed daemon left behind.
//!
//! Called by the driver before anything is probed. A start that went on after its daemon died could bring a resource
//! up here after the new daemon has said that nothing runs here, and another node has started it: two of it. Each
//! run puts itself on record before it becomes its agent, so that none can be missed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// Where the records of runs are: one file per run, in it the number of its process group.
pub const RECORDS: &str = "/run/cluster/runs";

/// Tells a run the path of its record; found again in the environment of the process, it proves that the number in
/// the record is still that run's and not a stranger's.
pub const VARIABLE: &str = "RGMANAGER_RUN";

/// Between SIGTERM and SIGKILL.
const TERM_GRACE: Duration = Duration::from_secs(2);
/// For a killed process to be gone; one that hangs in the kernel stays longer and does nothing meanwhile.
const KILL_WAIT: Duration = Duration::from_secs(5);
/// How often it is looked.
const POLL: Duration = Duration::from_millis(10);

/// Ends all runs on record and clears the records.
pub async fn end_all(records: &Path) {
    let entries = std::fs::read_dir(records).into_iter().flatten().flatten();
    let left: Vec<(PathBuf, Option<Pid>)> = entries.map(|entry| (entry.path(), running(&entry.path()))).collect();
    let pids: Vec<Pid> = left.iter().filter_map(|(_, pid)| *pid).collect();
    for signal in [Signal::TERM, Signal::KILL] {
        let alive: Vec<Pid> = pids.iter().copied().filter(|pid| group_lives(*pid)).collect();
        for pid in &alive {
            tracing::warn!("a run of the daemon before this one still goes on (process group {pid}); ending it");
            // Gone in this moment is as good.
            let _ = kill_process_group(*pid, signal);
        }
        let deadline = Instant::now() + if signal == Signal::TERM { TERM_GRACE } else { KILL_WAIT };
        while alive.iter().any(|pid| group_lives(*pid)) && Instant::now() < deadline {
            tokio::time::sleep(POLL).await;
        }
    }
    for (record, pid) in left {
        if pid.is_some_and(group_lives) {
            tracing::error!("a run of the daemon before this one cannot be ended; it hangs in the kernel");
            continue;
        }
        // Overwritten by a run with the same number otherwise.
        let _ = std::fs::remove_file(record);
    }
}

/// The process group of a record, if it is still the run that wrote it.
fn running(record: &Path) -> Option<Pid> {
    let pid = Pid::from_raw(std::fs::read_to_string(record).ok()?.trim().parse().ok()?)?;
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let expected = format!("{VARIABLE}={}", record.display());
    environment.split(|byte| *byte == 0).any(|entry| entry == expected.as_bytes()).then_some(pid)
}

/// Does any process of the group still run? The leader's end is not enough: a child that ignores SIGTERM goes on
/// mounting after it. The number of a group goes to no other while a member is left.
fn group_lives(group: Pid) -> bool {
    let group = group.to_string();
    std::fs::read_dir("/proc").into_iter().flatten().flatten().any(|entry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // After the name, which may hold anything: state, parent, group.
        let mut fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
        let state = fields.next();
        state.is_some_and(|state| state != "Z") && fields.nth(1) == Some(&group)
    })
}
