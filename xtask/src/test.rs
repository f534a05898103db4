//! Everything that must hold, and a closing line of counts.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::scratch::Scratch;
use crate::{axe, check, packages, run};

/// Seeds of the simulator in this run; `cargo xtask sim --seeds N` does more.
const SEEDS: &str = "5000";

/// Packages whose tests run on several hosts.
const HOSTS: &[&str] = &["lab", "browser"];

/// More failed tests than these are not run again.
const AGAIN_MAX: usize = 3;

/// What a test says when something came about that may not once: two holders of an address, nobody with power, rows that are
/// missing. Such a test is not run again.
const NEVER: &[&str] = &["Overlap {", "without power at the same time", " lost ["];

#[derive(Default)]
struct Counts {
    passed: u64,
    failed: u64,
    /// Of tests that failed.
    names: Vec<String>,
    /// One of `NEVER` was said.
    never: bool,
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
        self.never |= NEVER.iter().any(|said| line.contains(said));
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
    let programs = timed("build of the tests", build_tests)?;
    let scratch = Scratch::new()?;
    timed("tests", || run_tests(&mut on_this_machine(), scratch.as_ref(), &mut counts))?;
    // Hosts of the lab read their programs while the machine is still writing those of the build.
    rustix::fs::sync();
    let second = timed("tests on hosts", || on_hosts(&programs, scratch.as_ref(), &mut counts))?;
    drop(scratch);
    counts.step("simulation", timed("simulation", simulation));
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

/// Optimised, which pays off from a thousand seeds on.
fn simulation() -> Result<()> {
    run::cargo(&["build", "--release", "--package", "sim", "--bin", "sim", "--locked"])?;
    run::released("sim", &["--seeds", SEEDS])
}

/// The tests that need no host but this one.
fn on_this_machine() -> Command {
    let mut command = Command::new(run::cargo_path());
    command.args(["test", "--workspace", "--no-fail-fast", "--locked"]);
    command.args(HOSTS.iter().flat_map(|package| ["--exclude", package]));
    command
}

/// A built program of tests.
struct Program {
    path: PathBuf,
    /// Of its package, where it runs.
    folder: PathBuf,
}

/// Builds all tests; those of `HOSTS`.
fn build_tests() -> Result<Vec<Program>> {
    let words = ["test", "--workspace", "--no-run", "--locked", "--message-format", "json-render-diagnostics"];
    let told = run::output(&run::cargo_path(), &words)?;
    let artifacts = told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let program = |artifact: Value| {
        let path = PathBuf::from(artifact["executable"].as_str()?);
        let folder = Path::new(artifact["manifest_path"].as_str()?).parent()?.to_owned();
        let on_hosts = HOSTS.iter().any(|package| folder.ends_with(Path::new("tests").join(package)));
        (on_hosts && artifact["profile"]["test"] == true).then_some(Program { path, folder })
    };
    let programs: Vec<Program> = artifacts.filter_map(program).collect();
    if programs.is_empty() {
        bail!("cargo built no tests of {}", HOSTS.join(" and "));
    }
    Ok(programs)
}

/// The tests on hosts, and once more those few that failed: members that the machine lets wait for seconds are lost to the others,
/// whatever the programs do. Returns the names of those that passed the second time only.
fn on_hosts(programs: &[Program], scratch: Option<&Scratch>, counts: &mut Counts) -> Result<Vec<String>> {
    let before = Waited::now();
    let mut again = Vec::new();
    let mut left = AGAIN_MAX;
    for program in programs {
        let mut first = Counts::default();
        run_tests(Command::new(&program.path).current_dir(&program.folder), scratch, &mut first)?;
        let names = std::mem::take(&mut first.names);
        if first.never || names.is_empty() || names.len() > left || names.len() as u64 != first.failed {
            counts.failed += first.failed;
        } else {
            left -= names.len();
            again.push((program, names));
        }
        counts.passed += first.passed;
    }
    println!("processes waited meanwhile: {}", Waited::now().since(&before));
    let mut passed = Vec::new();
    for (program, names) in again {
        println!("once more: {}", names.join(" "));
        let mut second = Counts::default();
        let mut command = Command::new(&program.path);
        run_tests(command.current_dir(&program.folder).arg("--exact").args(&names), scratch, &mut second)?;
        counts.passed += second.passed;
        counts.failed += second.failed.max((names.len() as u64).saturating_sub(second.passed));
        passed.extend(names.into_iter().filter(|name| !second.names.contains(name)));
    }
    Ok(passed)
}

fn run_tests(command: &mut Command, scratch: Option<&Scratch>, counts: &mut Counts) -> Result<()> {
    let before = counts.failed;
    let succeeded = run::watched(command.envs(scratch.map(Scratch::environment)), |line| counts.read(line))?;
    if !succeeded && counts.failed == before {
        counts.failed += 1;
        println!("FAILED: tests ended badly without a failed test");
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
