//! The figures and their limits, as a table.

use std::fmt;
use std::time::Duration;

/// Limits of the console at this size (p99, ms; MiB).
const PAGE_MS: f64 = 50.0;
const EVENT_MS: f64 = 250.0;
const MEMORY_MIB: u64 = 150;

/// One round.
pub(crate) struct Sample {
    /// By route, its times sorted.
    pub(crate) pages: Vec<(String, Vec<Duration>)>,
    /// From the members' word to the browser, sorted.
    pub(crate) events: Vec<Duration>,
    /// So many should have arrived.
    pub(crate) events_wanted: usize,
    /// Of one processor, by luci.
    pub(crate) share: f64,
}

/// What luci holds.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) now_mib: u64,
    pub(crate) most_mib: u64,
}

/// Everything that was measured.
pub(crate) struct Table {
    pub(crate) calm: Sample,
    pub(crate) hung: Sample,
    /// Before a browser was open.
    pub(crate) idle: Memory,
    pub(crate) memory: Memory,
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn at(times: &[Duration], percent: usize) -> f64 {
    let place = (times.len() * percent).div_ceil(100).max(1) - 1;
    times.get(place).copied().map_or(f64::NAN, ms)
}

impl Sample {
    fn all_pages(&self) -> Vec<Duration> {
        let mut all: Vec<Duration> = self.pages.iter().flat_map(|(_, times)| times).copied().collect();
        all.sort();
        all
    }

    fn holds(&self) -> bool {
        self.pages.iter().all(|(_, times)| at(times, 99) <= PAGE_MS)
            && self.events.len() == self.events_wanted
            && at(&self.events, 99) <= EVENT_MS
    }
}

impl Table {
    /// Whether every limit is kept.
    pub(crate) fn holds(&self) -> bool {
        self.calm.holds() && self.hung.holds() && self.memory.most_mib <= MEMORY_MIB
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, sample) in [("all well", &self.calm), ("one cluster hangs", &self.hung)] {
            writeln!(f, "\n{name} (luci uses {:.0} % of a processor)", sample.share * 100.0)?;
            writeln!(f, "{:<64} {:>5} {:>8} {:>8} {:>8}", "ms", "count", "median", "p99", "most")?;
            let mut slowest: Vec<&(String, Vec<Duration>)> = sample.pages.iter().collect();
            slowest.sort_by(|left, right| at(&right.1, 99).total_cmp(&at(&left.1, 99)));
            for (route, times) in slowest {
                row(f, route, times)?;
            }
            row(f, "all pages (p99 of each at most 50)", &sample.all_pages())?;
            row(f, "event -> browser (p99 at most 250)", &sample.events)?;
            writeln!(f, "events that reached their browsers: {} of {}", sample.events.len(), sample.events_wanted)?;
        }
        writeln!(
            f,
            "\nmemory of luci (at most {MEMORY_MIB} MiB): {} MiB now, {} MiB at most; {} MiB before a browser was open",
            self.memory.now_mib, self.memory.most_mib, self.idle.now_mib
        )
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, times: &[Duration]) -> fmt::Result {
    let (median, p99, most) = (at(times, 50), at(times, 99), at(times, 100));
    writeln!(f, "{name:<64} {:>5} {median:>8.1} {p99:>8.1} {most:>8.1}", times.len())
}
