//! `sim`: runs seeds and tells the first that breaks something, or replays one with its whole trace.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::Parser;
use sim::random::{Options, Verdict, run_seed};
use sim::rogue::Rogue;
use sim::scenario::Story;

/// Simulates clusters.
#[derive(Debug, Parser)]
#[command(name = "sim")]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Run only this one.
    #[arg(long)]
    seed: Option<u64>,
    /// Print everything that happens.
    #[arg(long)]
    trace: bool,
    /// Take rule 1 to 7 out of the law, and have a member try to break it.
    #[arg(long)]
    break_law: Option<u8>,
    /// A member sends wrong messages, but the law is whole.
    #[arg(long)]
    rogue: bool,
    /// Fence agents say half of the time that they are done when they have done nothing.
    #[arg(long)]
    lying_fences: bool,
    /// cluster.conf asks for a witness of each fencing.
    #[arg(long)]
    require_witness: bool,
    /// Go on after a violation and list all.
    #[arg(long)]
    all: bool,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Run a story of tests/scenarios and print its transcript; `--trace` for every message.
    #[arg(long)]
    story: Vec<std::path::PathBuf>,
    /// With `--story`: print nothing, and fail at the first that goes otherwise than its transcript.
    #[arg(long)]
    check: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut options = Options {
        lying_fences: arguments.lying_fences,
        require_witness: arguments.require_witness,
        ..Options::default()
    };
    if let Some(rule) = arguments.break_law {
        options.law = sim::laws::broken(usize::from(rule)).context("rules go from 1 to 7")?;
        options.rogue = Some(Rogue(Some(rule)));
    } else if arguments.rogue {
        options.rogue = Some(Rogue(None));
    }
    if !arguments.story.is_empty() {
        return tell_stories(&arguments);
    }
    if let Some(seed) = arguments.seed {
        return show(seed, options, arguments.trace);
    }
    let begun = Instant::now();
    let found = run_all(&arguments, options);
    let mut out = std::io::stdout().lock();
    let seconds = begun.elapsed().as_secs_f64();
    for verdict in &found.violations {
        writeln!(out, "seed {}, step {}: {}", verdict.seed, verdict.steps, verdict.violation.as_deref().unwrap_or(""))?;
    }
    writeln!(
        out,
        "{} seeds, {} steps, {} simulated hours in {seconds:.1} s; {} violations",
        found.seeds,
        found.steps,
        found.simulated_ms / 3_600_000,
        found.violations.len()
    )?;
    if let Some(first) = found.violations.first() {
        writeln!(out, "look at it: sim --seed {} --trace", first.seed)?;
    }
    Ok(if found.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell_stories(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    for path in &arguments.story {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let story = Story::parse(&text)?;
        let told = story.run(&path.with_file_name("conf"), arguments.trace);
        if arguments.check {
            if told? != story.expected {
                bail!("{} goes otherwise than it is written", path.display());
            }
            continue;
        }
        match told {
            Ok(transcript) => write!(out, "{}----\n{transcript}\n", story.head)?,
            Err(error) => writeln!(out, "{}----\n{error:#}\n", story.head)?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Default)]
struct Found {
    seeds: u64,
    steps: u64,
    simulated_ms: u64,
    violations: Vec<Verdict>,
}

fn run_all(arguments: &Arguments, options: Options) -> Found {
    let next = AtomicU64::new(arguments.from);
    let end = arguments.from + arguments.seeds;
    let found = Mutex::new(Found::default());
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let verdict = run_seed(seed, options);
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    found.seeds += 1;
                    found.steps += verdict.steps;
                    found.simulated_ms += verdict.simulated_ms;
                    if verdict.violation.is_some() {
                        found.violations.push(verdict);
                        if !arguments.all {
                            next.store(end, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.violations.sort_by_key(|verdict| verdict.seed);
    found
}

fn show(seed: u64, options: Options, trace: bool) -> anyhow::Result<ExitCode> {
    let verdict = run_seed(seed, Options { trace, ..options });
    let again = run_seed(seed, options);
    if verdict.fingerprint != again.fingerprint {
        bail!("seed {seed} ran twice and not alike: something outside the seed decides");
    }
    let mut out = std::io::stdout().lock();
    for line in &verdict.trace {
        writeln!(out, "{line}")?;
    }
    match verdict.violation {
        Some(violation) => {
            writeln!(out, "seed {seed}, step {}: {violation}", verdict.steps)?;
            Ok(ExitCode::FAILURE)
        }
        None => {
            writeln!(out, "seed {seed}: {} steps, nothing wrong", verdict.steps)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
