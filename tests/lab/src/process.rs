//! Small facts about processes of the machine: is one alive, and when did it start.
//!
//! A process is named by its id and its start time, because ids are used again.

use std::fs;
use std::path::Path;

/// Start time of a live process in clock ticks since boot; `None` when it is gone or a zombie.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name may hold blanks and brackets; the fields after its closing bracket are plain.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Writes who this process is, so that others can tell whether it still lives.
pub(crate) fn write_identity(path: &Path, pid: u32) -> std::io::Result<()> {
    fs::write(path, format!("{pid} {}\n", started(pid).unwrap_or(0)))
}

/// The process named in an identity file, if it is still alive.
pub(crate) fn read_identity(path: &Path) -> Option<u32> {
    let text = fs::read_to_string(path).ok()?;
    let (pid, start) = text.trim().split_once(' ')?;
    let pid = pid.parse().ok()?;
    (started(pid)? == start.parse::<u64>().ok()?).then_some(pid)
}
