//! Runs the tests with one mutant on, the quickest first, until one notices it. A story is run only if it comes by the place that
//! the mutant changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::numbers;
use super::switch::Mutant;
use crate::run;

/// What becomes of a mutant.
pub(super) enum Outcome {
    /// By whom it was noticed.
    Caught(String),
    /// It does not compile.
    Unviable,
    /// All tests pass.
    Survived,
    /// No test comes by its place.
    NotReached,
}

impl Outcome {
    /// The inverse of its words.
    pub(super) fn read(text: &str) -> Option<Self> {
        match text {
            "unviable" => Some(Self::Unviable),
            "SURVIVED" => Some(Self::Survived),
            "NOT REACHED" => Some(Self::NotReached),
            other => Some(Self::Caught(other.strip_prefix("caught by ")?.to_owned())),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caught(by) => write!(f, "caught by {by}"),
            Self::Unviable => f.write_str("unviable"),
            Self::Survived => f.write_str("SURVIVED"),
            Self::NotReached => f.write_str("NOT REACHED"),
        }
    }
}

/// One program with its arguments.
struct Test {
    name: String,
    program: PathBuf,
    words: Vec<String>,
    story: Option<PathBuf>,
    /// Slow, and of use for these files only; empty: for all that it comes by.
    about: &'static [&'static str],
    /// The mutants whose place it comes by.
    reached: BTreeSet<u32>,
}

pub(super) struct Judge {
    tests: Vec<Test>,
}

/// Seconds of processor time that a test may take; deciding nothing for ever looks like this. Real time says nothing on a busy machine.
const LIMIT_S: u32 = 60;

impl Judge {
    /// Runs everything once without a mutant.
    pub(super) fn new(programs: &BTreeMap<String, PathBuf>, mutants: &[&Mutant]) -> Result<Self> {
        let mut tests = tests(programs)?;
        for test in &mut tests {
            if !test.about.is_empty() {
                let concerns = |mutant: &&&Mutant| test.about.iter().any(|file| mutant.file.ends_with(file));
                test.reached = mutants.iter().filter(concerns).map(|mutant| mutant.number).collect();
                if test.reached.is_empty() {
                    continue;
                }
            }
            let file = run::root().join("target/mutants/reached").join(test.name.replace('/', "-"));
            if !is_newer(&file, &test.program) || !test.story.as_ref().is_none_or(|story| is_newer(&file, story)) {
                fs::create_dir_all(run::root().join("target/mutants/reached"))?;
                let _ = fs::remove_file(&file);
                ensure!(test.passes(0, Some(&file))?, "{} fails without any mutant", test.name);
            }
            if test.about.is_empty() {
                test.reached = numbers(&fs::read_to_string(&file).unwrap_or_default());
            }
        }
        Ok(Self { tests })
    }

    /// Turns one on. `None`: as many tests as there may be have passed, and others are left.
    pub(super) fn judge(&mut self, number: u32, at_most: usize) -> Result<Option<Outcome>> {
        let mut run = 0;
        for index in 0..self.tests.len() {
            let test = &self.tests[index];
            if !test.reached.contains(&number) {
                continue;
            }
            run += 1;
            if run > at_most {
                return Ok(None);
            }
            if !test.passes(number, None)? {
                let name = test.name.clone();
                // What noticed this one often notices the next, which stands beside it.
                if test.story.is_some() {
                    self.tests[..=index].rotate_right(1);
                }
                return Ok(Some(Outcome::Caught(name)));
            }
        }
        Ok(Some(if run > 0 { Outcome::Survived } else { Outcome::NotReached }))
    }
}

/// Whether a file was written after another.
fn is_newer(file: &Path, other: &Path) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|known| known.modified());
    matches!((time(file), time(other)), (Ok(file), Ok(other)) if file > other)
}

/// The quickest first.
fn tests(programs: &BTreeMap<String, PathBuf>) -> Result<Vec<Test>> {
    let program = |name: &str| programs.get(name).cloned().with_context(|| format!("the program {name} was not built"));
    let mut tests = Vec::new();
    let mut add = |name: &str, program: PathBuf, words: &[&str], about: &'static [&'static str]| {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let story = words.iter().position(|word| word == "--story").and_then(|at| words.get(at + 1)).map(PathBuf::from);
        tests.push(Test { name: name.to_owned(), program, words, story, about, reached: BTreeSet::new() });
    };
    let mut stories = Vec::new();
    crate::tidy::collect(&run::root().join("tests/scenarios"), "txt", &mut stories)?;
    stories.sort();
    for story in &stories {
        let name = story.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        add(&name, program("sim")?, &["--check", "--story", &story.to_string_lossy()], &[]);
    }
    let one = ["--test-threads", "1"];
    add("unit tests", program("engine")?, &one, &[]);
    add("engine/tests/law.rs", program("law")?, &one, &[]);
    add("engine/tests/story.rs", program("story")?, &one, &[]);
    add("seeds", program("sim")?, &["--threads", "1", "--seeds", "100"], &[]);
    add("seeds with a member gone wrong", program("sim")?, &["--threads", "1", "--seeds", "50", "--rogue"], &[]);
    add("predictions", program("predictions")?, &one, &["predict.rs", "why.rs"]);
    add("nonsense", program("nonsense")?, &one, &["message.rs", "law.rs", "replicated.rs"]);
    Ok(tests)
}

/// Runs everything against a build that has one mutant and no switch.
pub(super) fn judge_alone(programs: &BTreeMap<String, PathBuf>) -> Result<Outcome> {
    for test in tests(programs)? {
        if !test.passes(0, None)? {
            return Ok(Outcome::Caught(test.name));
        }
    }
    Ok(Outcome::Survived)
}

impl Test {
    fn passes(&self, number: u32, reached: Option<&PathBuf>) -> Result<bool> {
        let mut command = Command::new("prlimit");
        command.arg(format!("--cpu={LIMIT_S}")).arg(&self.program).args(&self.words).env("MUTANT", number.to_string());
        command.env("RUST_BACKTRACE", "0").stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(file) = reached {
            command.env("MUTANTS_REACHED", file);
        }
        let status = command.status().context("prlimit (of util-linux) could not be started")?;
        Ok(status.success())
    }
}
