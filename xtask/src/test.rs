//! Everything that must hold, and a closing line of counts.

use std::time::Instant;

use anyhow::{Result, bail};

use crate::scratch::Scratch;
use crate::{axe, check, packages, run};

/// Seeds of the simulator in this run; `cargo xtask sim --seeds N` does more.
const SEEDS: &str = "3000";

/// What needs no host but this one.
const ALONE: &[&str] = &["--workspace", "--exclude", "lab", "--exclude", "browser"];
/// What runs on several hosts.
const HOSTS: &[&str] = &["--package", "lab", "--package", "browser"];

/// More failed tests than these are not run again.
const AGAIN_MAX: usize = 3;

#[derive(Default)]
struct Counts {
    passed: u64,
    failed: u64,
    /// Of tests that failed.
    names: Vec<String>,
}

impl Counts {
    fn step(&mut self, name: &str, result: Result<()>) {
        match result {
            Ok(()) => self.passed += 1,
            Err(error) => {
                self.failed += 1;
                println!("FAILED: {name}: {error:#}");
            }
        }
    }

    /// Adds a line such as `test result: ok. 12 passed; 0 failed; 0 ignored; …` or `test its_name ... FAILED`.
    fn read(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED")) {
            self.names.push(name.to_owned());
        }
        let Some(rest) = line.trim().strip_prefix("test result:") else { return };
        for part in rest.split([';', '.']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(what)) = (words.next().and_then(|word| word.parse::<u64>().ok()), words.next())
            else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                _ => {}
            }
        }
    }
}

pub(crate) fn everything() -> Result<()> {
    let began = Instant::now();
    packages::need_root(
        "the lab makes network namespaces and mounts; `cargo xtask check` and `cargo test -p shared -p engine -p sim` need none",
    )?;
    packages::install(packages::EVERYTHING)?;
    axe::fetch()?;
    let mut counts = Counts::default();
    timed("build", || run::cargo(&["build", "--workspace", "--bins", "--locked"]))?;
    timed("build of the tests", || run::cargo(&["test", "--workspace", "--no-run", "--locked"]))?;
    let scratch = Scratch::new()?;
    timed("tests", || cargo_tests(ALONE, scratch.as_ref(), &mut counts))?;
    // Hosts of the lab read their programs while the machine is still writing those of the build.
    rustix::fs::sync();
    let second = timed("tests on hosts", || on_hosts(scratch.as_ref(), &mut counts))?;
    drop(scratch);
    counts.step("simulation", timed("simulation", || run::built("sim", &["--seeds", SEEDS])));
    for (name, step) in check::steps() {
        counts.step(name, timed(name, step));
    }
    println!("total time: {:.0} s", began.elapsed().as_secs_f64());
    for name in second {
        println!("passed at the second attempt only: {name}");
    }
    println!("{} passed, {} failed", counts.passed, counts.failed);
    if counts.failed > 0 || counts.passed == 0 {
        bail!("not everything holds");
    }
    Ok(())
}

/// The tests on hosts, and once more those few that failed: members that the machine lets wait for seconds are lost to the others,
/// whatever the programs do. Returns the names of those that passed the second time only.
fn on_hosts(scratch: Option<&Scratch>, counts: &mut Counts) -> Result<Vec<String>> {
    let before = Waited::now();
    let mut first = Counts::default();
    cargo_tests(HOSTS, scratch, &mut first)?;
    println!("processes waited meanwhile: {}", Waited::now().since(&before));
    let names = std::mem::take(&mut first.names);
    if names.is_empty() || names.len() > AGAIN_MAX || names.len() as u64 != first.failed {
        counts.passed += first.passed;
        counts.failed += first.failed;
        return Ok(Vec::new());
    }
    println!("once more: {}", names.join(" "));
    let mut words = HOSTS.to_vec();
    words.extend(["--", "--exact"]);
    words.extend(names.iter().map(String::as_str));
    let mut again = Counts::default();
    cargo_tests(&words, scratch, &mut again)?;
    counts.passed += first.passed + again.passed;
    counts.failed += again.failed.max(first.failed.saturating_sub(again.passed));
    Ok(names.into_iter().filter(|name| !again.names.contains(name)).collect())
}

fn cargo_tests(which: &[&str], scratch: Option<&Scratch>, counts: &mut Counts) -> Result<()> {
    let words = [&["test", "--no-fail-fast", "--locked"], which].concat();
    let before = counts.failed;
    let environment = scratch.map(Scratch::environment);
    let succeeded = run::watched(&run::cargo_path(), &words, environment, |line| counts.read(line))?;
    if !succeeded && counts.failed == before {
        counts.failed += 1;
        println!("FAILED: cargo test ended badly without a failed test");
    }
    Ok(())
}

/// For how long, since the boot, some process could not go on for want of something.
struct Waited {
    processor_us: u64,
    disk_us: u64,
    at: Instant,
}

impl Waited {
    fn now() -> Self {
        let total = |what: &str| {
            let text = std::fs::read_to_string(format!("/proc/pressure/{what}")).unwrap_or_default();
            let some = text.lines().find(|line| line.starts_with("some"));
            some.and_then(|line| line.split_once("total=")?.1.trim().parse().ok()).unwrap_or(0)
        };
        Self { processor_us: total("cpu"), disk_us: total("io"), at: Instant::now() }
    }

    fn since(&self, before: &Self) -> String {
        let whole = self.at.duration_since(before.at).as_micros().max(1);
        let share = |now: u64, then: u64| u128::from(now.saturating_sub(then)) * 100 / whole;
        format!(
            "for a processor {} % of the time, for the disk {} %",
            share(self.processor_us, before.processor_us),
            share(self.disk_us, before.disk_us)
        )
    }
}

fn timed<T>(name: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("== {name}");
    let began = Instant::now();
    let result = step();
    println!("== {name}: {:.0} s", began.elapsed().as_secs_f64());
    result
}
