//! The last lines of our daemons' logs: from the journal where systemd runs, else from the files that ricci lets its
//! daemons write, with ricci's own lines from memory. Bounded whatever the logs' size.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shared::api::LogLine;
use time::format_description::well_known::Rfc3339;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};
use tracing_subscriber::fmt::MakeWriter;

use super::clock::now_ms;
use super::files;
use super::host::Host;
use super::problem::ApiError;
use super::process::Run;

/// How many lines one answer holds.
pub(super) const LINES_MAX: usize = 2000;
/// How far back a file is read.
const TAIL_BYTES: u64 = 512 * 1024;
/// ricci's own lines kept in memory.
const OWN_LINES_MAX: usize = 500;
const JOURNAL_WAIT: Duration = Duration::from_secs(8);

/// ricci's own recent lines; a writer for the tracing subscriber.
#[derive(Debug, Clone, Default)]
pub struct OwnLines(Arc<Mutex<VecDeque<LogLine>>>);

impl Write for OwnLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes).trim_end().to_owned();
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= OWN_LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(LogLine { at_ms: now_ms(), program: "ricci".into(), text });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for OwnLines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Where the lines are.
#[derive(Debug)]
pub(super) struct Log {
    own: OwnLines,
    /// `None`: in the journal.
    files: Option<Vec<(&'static str, PathBuf)>>,
}

impl Log {
    pub(super) fn new(host: &Host, own: OwnLines) -> Self {
        Self { own, files: host.log_files() }
    }

    /// The last `count` lines of all programs, oldest first.
    pub(super) async fn lines(&self, count: usize) -> Result<Vec<LogLine>, ApiError> {
        let count = count.min(LINES_MAX);
        let Some(of_daemons) = self.files.clone() else { return journal(count).await };
        let mut lines: Vec<LogLine> = files::off_loop(move || {
            of_daemons.iter().flat_map(|(program, path)| parse_file(program, &last_lines(path, count))).collect()
        })
        .await;
        lines.extend(self.own.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        lines.sort_by_key(|line| line.at_ms);
        Ok(lines.split_off(lines.len().saturating_sub(count)))
    }

    /// The last few lines of one program on one line, for an error text.
    pub(super) async fn last_words(&self, program: &str) -> String {
        let lines = self.lines(LINES_MAX).await.unwrap_or_default();
        let mut words: Vec<String> =
            lines.into_iter().rev().filter(|line| line.program == program).take(5).map(|line| line.text).collect();
        words.reverse();
        words.join(" | ")
    }
}

async fn journal(count: usize) -> Result<Vec<LogLine>, ApiError> {
    let lines = format!("--lines={count}");
    let arguments = ["--output=json", "--no-pager", &lines, "--unit=corosync", "--unit=rgmanager", "--unit=ricci"];
    let program = Path::new("/usr/bin/journalctl");
    let run = Run { program, arguments: &arguments, environment: &[], stdin: b"", wait: JOURNAL_WAIT };
    Ok(run.end().await?.stdout.lines().filter_map(parse_journal).collect())
}

fn parse_journal(line: &str) -> Option<LogLine> {
    let entry: serde_json::Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| entry.get(key).and_then(serde_json::Value::as_str);
    let at_us: u64 = text("__REALTIME_TIMESTAMP")?.parse().ok()?;
    let program = text("SYSLOG_IDENTIFIER").unwrap_or("systemd").to_owned();
    // A message that is not UTF-8 comes as an array of bytes and is left out.
    Some(LogLine { at_ms: at_us / 1000, program, text: text("MESSAGE")?.to_owned() })
}

/// The last `count` lines of a file; none if it cannot be read.
pub(super) fn last_lines(path: &Path, count: usize) -> Vec<String> {
    let tail = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = tail().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.iter().skip(lines.len().saturating_sub(count)).map(|line| (*line).to_owned()).collect()
}

/// Lines without a time of their own belong to the line before.
fn parse_file(program: &str, lines: &[String]) -> Vec<LogLine> {
    let year = OffsetDateTime::now_utc().year();
    let mut at_ms = 0;
    let stamped = lines.iter().map(|line| {
        let (stamp, text) = split_stamp(line, year).unwrap_or((at_ms, line));
        at_ms = stamp;
        // rgmanager names itself in each line, for the system log.
        let text = text.trim().trim_start_matches(program).trim_start_matches(": ").trim();
        LogLine { at_ms, program: program.to_owned(), text: text.to_owned() }
    });
    stamped.collect()
}

/// rgmanager stamps as RFC 3339 does; corosync as `Nov 21 02:00:00.123`, in UTC because it is started so.
fn split_stamp(line: &str, year: i32) -> Option<(u64, &str)> {
    let millis = |at: OffsetDateTime| u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok();
    if let Some((stamp, text)) = line.trim_start().split_once(' ')
        && let Ok(at) = OffsetDateTime::parse(stamp, &Rfc3339)
    {
        return Some((millis(at)?, text));
    }
    let mut words = line.splitn(4, ' ').filter(|word| !word.is_empty());
    let (month, day, clock) = (words.next()?, words.next()?, words.next()?);
    let month = match month {
        "Jan" => Month::January,
        "Feb" => Month::February,
        "Mar" => Month::March,
        "Apr" => Month::April,
        "May" => Month::May,
        "Jun" => Month::June,
        "Jul" => Month::July,
        "Aug" => Month::August,
        "Sep" => Month::September,
        "Oct" => Month::October,
        "Nov" => Month::November,
        "Dec" => Month::December,
        _ => return None,
    };
    let (seconds, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = seconds.split(':').map(str::parse::<u8>);
    let time =
        Time::from_hms_milli(parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?, fraction.parse().ok()?);
    let date = Date::from_calendar_date(year, month, day.parse().ok()?).ok()?;
    let text = words.next().unwrap_or_default();
    Some((millis(PrimitiveDateTime::new(date, time.ok()?).assume_utc())?, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_stamps_are_understood() {
        let corosync = split_stamp("Nov 21 02:00:00.250 notice  [TOTEM ] ready", 2026).unwrap();
        let ours = split_stamp("2026-11-21T02:00:00.250Z  INFO joined", 2026).unwrap();
        assert_eq!(corosync.0, ours.0);
        assert_eq!(corosync.1.trim(), "notice  [TOTEM ] ready");
        assert_eq!(split_stamp("no stamp at all", 2026), None);
    }

    #[test]
    fn the_tail_of_a_file_is_its_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        std::fs::write(&path, "one\ntwo\n\nthree\n").unwrap();
        assert_eq!(last_lines(&path, 2), ["two", "three"]);
        assert!(last_lines(&folder.path().join("none"), 2).is_empty());
    }
}
