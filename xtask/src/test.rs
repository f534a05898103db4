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

#[derive(Default)]
struct Counts {
    passed: u64,
    failed: u64,
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

    /// Adds a line such as `test result: ok. 12 passed; 0 failed; 0 ignored; …`.
    fn read(&mut self, line: &str) {
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
    timed("tests on hosts", || cargo_tests(HOSTS, scratch.as_ref(), &mut counts))?;
    drop(scratch);
    counts.step("simulation", timed("simulation", || run::built("sim", &["--seeds", SEEDS])));
    for (name, step) in check::steps() {
        counts.step(name, timed(name, step));
    }
    println!("total time: {:.0} s", began.elapsed().as_secs_f64());
    println!("{} passed, {} failed", counts.passed, counts.failed);
    if counts.failed > 0 || counts.passed == 0 {
        bail!("not everything holds");
    }
    Ok(())
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

fn timed<T>(name: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("== {name}");
    let began = Instant::now();
    let result = step();
    println!("== {name}: {:.0} s", began.elapsed().as_secs_f64());
    result
}
