//! Times of log lines. All logs of a lab begin their lines with `Mon DD HH:MM:SS.mmm`, written from the same clock.
//!
//! Times are seconds since a moment (the power cut); lines before it are not seen.

use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use lab::{Lab, Place, epoch_s};

const DAY_S: f64 = 86_400.0;
/// Logs are read soon after the cut: what seems to lie further ahead was written before it.
const AHEAD_MAX_S: f64 = 3_600.0;

/// Turns times of day in logs into seconds since a moment.
pub(crate) struct Clock {
    /// Local seconds of day of the moment.
    zero: f64,
}

/// One line of a log.
pub(crate) struct Line {
    /// Seconds since the moment.
    pub(crate) at: f64,
    pub(crate) text: String,
}

impl Clock {
    /// Counts from `moment`; `host` says how far its clock is from UTC.
    pub(crate) fn from(lab: &Lab, host: usize, moment: SystemTime) -> Result<Self> {
        let zone = lab.sh_ok(Place::Host(host), "date +%z")?;
        let offset = parse_zone(zone.trim()).with_context(|| format!("{zone:?} is no time zone"))?;
        Ok(Self { zero: (epoch_s(moment) + offset).rem_euclid(DAY_S) })
    }

    /// The lines of a log that were written after the moment.
    pub(crate) fn lines(&self, log: &str) -> Vec<Line> {
        let after = |line: &str| {
            let at = (time_of_day(line)? - self.zero).rem_euclid(DAY_S);
            (at < AHEAD_MAX_S).then(|| Line { at, text: line.to_owned() })
        };
        log.lines().filter_map(after).collect()
    }
}

/// When the first line with this text was written.
pub(crate) fn first(lines: &[Line], text: &str) -> Option<f64> {
    lines.iter().filter(|line| line.text.contains(text)).map(|line| line.at).reduce(f64::min)
}

/// Like `first`, and an error that names the text and the host whose log has no such line.
pub(crate) fn must(lines: &[Line], text: &str, host: &str) -> Result<f64> {
    match first(lines, text) {
        Some(at) => Ok(at),
        None => {
            let seen: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
            bail!("the log of {host} has no line {text:?} after the cut:\n{}", seen.join("\n"))
        }
    }
}

fn time_of_day(line: &str) -> Option<f64> {
    let mut parts = line.split_whitespace().nth(2)?.splitn(3, ':');
    let hours: f64 = parts.next()?.parse().ok()?;
    let minutes: f64 = parts.next()?.parse().ok()?;
    let seconds: f64 = parts.next()?.parse().ok()?;
    Some(hours * 3_600.0 + minutes * 60.0 + seconds)
}

/// `+0130` in seconds.
fn parse_zone(zone: &str) -> Option<f64> {
    let number: i32 = zone.parse().ok()?;
    let (hours, minutes) = (number / 100, number % 100);
    Some(f64::from(hours * 3_600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_after_midnight_is_later_than_a_moment_before_it() {
        let clock = Clock { zero: DAY_S - 1.0 };
        let lines = clock.lines("Nov 22 00:00:00.500 n: a\nNov 21 23:59:58.000 n: b\nno time\n");
        assert_eq!(lines.len(), 1);
        assert!((lines[0].at - 1.5).abs() < 1e-6);
        assert_eq!(parse_zone("-0330"), Some(-12_600.0));
    }
}
