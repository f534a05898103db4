//! What the stories and the simulation reach of the engine, file by file. The engine's own unit tests are left out: what only they
//! reach, no cluster does. Branches can be counted by the nightly compiler only; without it regions are counted instead, which are
//! the parts of a line that run together.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::run;

const CARGO_LLVM_COV: &str = "0.9.1";
const REPORT: &str = "target/coverage.json";

/// Per cent of lines, and of branches or regions.
const LIMIT: f64 = 95.0;

/// Of everything that the default mix of the simulator does, rare faults included.
const SEEDS: &str = "2000";

/// What was there, and what of it was reached.
#[derive(Default, Clone, Copy)]
struct Count {
    all: u64,
    reached: u64,
}

impl Count {
    fn read(summary: &Value, what: &str) -> Self {
        let number = |key: &str| summary[what][key].as_u64().unwrap_or(0);
        Self { all: number("count"), reached: number("covered") }
    }

    /// Both ways of every condition in the source. The compiler makes several of one that stands in a match with alternatives, or
    /// in a generic function: it is one place for who reads it, and has gone a way if any of them has.
    fn of_branches(file: &Value) -> Self {
        let mut places: BTreeMap<Vec<u64>, [bool; 2]> = BTreeMap::new();
        for branch in file["branches"].as_array().into_iter().flatten() {
            let number = |index: usize| branch[index].as_u64().unwrap_or(0);
            let ways = places.entry((0..4).map(number).collect()).or_default();
            ways[0] |= number(4) > 0;
            ways[1] |= number(5) > 0;
        }
        let all = places.len() * 2;
        let reached = places.values().flatten().filter(|reached| **reached).count();
        Self { all: all as u64, reached: reached as u64 }
    }

    fn add(&mut self, other: Self) {
        self.all += other.all;
        self.reached += other.reached;
    }

    fn percent(self) -> f64 {
        if self.all == 0 { 100.0 } else { as_f64(self.reached) * 100.0 / as_f64(self.all) }
    }
}

/// Counts of lines are far below what a `f64` can tell apart.
fn as_f64(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

pub(crate) fn everything() -> Result<()> {
    let nightly = run::output("rustup", &["component", "list", "--toolchain", "nightly", "--installed"])
        .is_ok_and(|components| components.contains("llvm-tools"));
    if run::output("cargo", &["llvm-cov", "--version"]).is_err() {
        run::cargo(&["install", "cargo-llvm-cov", "--version", CARGO_LLVM_COV, "--locked"])?;
    }
    let branches = if nightly {
        "branches"
    } else {
        println!(
            "no nightly compiler with its tools (rustup toolchain install nightly --component llvm-tools): regions instead of branches"
        );
        "regions"
    };
    let cov = |words: &[&str]| {
        let toolchain = if nightly { "nightly" } else { "stable" };
        let mut all = vec!["run", toolchain, "cargo", "llvm-cov"];
        all.extend(words);
        if nightly && !words.contains(&"clean") {
            all.insert(5, "--branch");
        }
        run::program("rustup", &all)
    };
    cov(&["clean", "--profraw-only"])?;
    let packages = ["--package", "engine", "--package", "sim"];
    let tests = ["--test", "scenarios", "--test", "nonsense", "--test", "predictions", "--no-report", "--locked"];
    cov(&[&["test"], &packages[..], &tests[..]].concat())?;
    for mix in [&["--seeds", SEEDS][..], &["--rogue", "--seeds", "200"]] {
        cov(&[&["run", "--no-report", "--locked", "--package", "sim", "--bin", "sim", "--"], mix].concat())?;
    }
    cov(&[&["report", "--json", "--output-path", REPORT], &packages[..]].concat())?;
    let report: Value = serde_json::from_str(&fs::read_to_string(REPORT)?).context("the report is not JSON")?;
    print(&report, branches)
}

/// One line per file and the sum.
fn print(report: &Value, branches: &str) -> Result<()> {
    let files = report["data"][0]["files"].as_array().context("the report names no files")?;
    let (mut lines_sum, mut branches_sum) = (Count::default(), Count::default());
    println!("| file | lines | reached | {branches} | reached |\n|---|---|---|---|---|");
    for file in files {
        let name = file["filename"].as_str().unwrap_or_default();
        let Some((_, name)) = name.rsplit_once("/engine/src/") else { continue };
        let lines = Count::read(&file["summary"], "lines");
        let parts = match branches {
            "branches" => Count::of_branches(file),
            _ => Count::read(&file["summary"], branches),
        };
        line(name, lines, parts);
        lines_sum.add(lines);
        branches_sum.add(parts);
    }
    line("**sum**", lines_sum, branches_sum);
    if lines_sum.all == 0 {
        bail!("the report has no line of the engine");
    }
    if lines_sum.percent() < LIMIT || branches_sum.percent() < LIMIT {
        bail!("less than {LIMIT} % is reached; what is not: cargo llvm-cov report --text, or {REPORT}");
    }
    Ok(())
}

fn line(name: &str, lines: Count, parts: Count) {
    println!("| {name} | {} | {:.1} % | {} | {:.1} % |", lines.all, lines.percent(), parts.all, parts.percent());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_the_compiler_made_twice_is_one_place() {
        let file = serde_json::json!({ "branches": [
            [7, 5, 7, 12, 3, 0, 0, 0, 4],
            [7, 5, 7, 12, 0, 9, 1, 0, 4],
            [8, 1, 8, 4, 0, 2, 0, 0, 4],
        ]});
        let count = Count::of_branches(&file);
        assert_eq!((count.all, count.reached), (4, 3));
    }
}
