//! Mutation testing of the engine: each small change of its code must make a story, a seed or a unit test fail. The changes are
//! those of cargo-mutants (`.cargo/mutants.toml`); built one by one they take hours, so all of them are built at once in a copy of
//! the tree under `target/mutants`, each behind a switch, and a run turns on one. What no switch can turn on is built alone.
//! A change that nothing notices must be explained in `docs/mutants.md`.

mod judge;
mod switch;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use self::judge::{Judge, Outcome};
use self::switch::Mutant;
use self::tree::Tree;
use crate::run;

const EXPLAINED: &str = "docs/mutants.md";
const OUTCOMES: &str = "target/mutants/outcomes.txt";

/// Which of the mutants are tried.
#[derive(Debug, clap::Args)]
pub(crate) struct Selection {
    /// Only those of files whose path contains this; may be given more than once.
    #[arg(long)]
    file: Vec<String>,
    /// Only this one, by its number in the list of outcomes.
    #[arg(long)]
    number: Option<u32>,
    /// Leave out those that need a build of their own to be judged.
    #[arg(long)]
    switched_only: bool,
    /// Run no more tests than this for each, and leave open what passes them: a first look.
    #[arg(long, default_value_t = usize::MAX)]
    tests: usize,
}

impl Selection {
    fn takes(&self, mutant: &Mutant) -> bool {
        (self.file.is_empty() || self.file.iter().any(|part| mutant.file.contains(part)))
            && self.number.is_none_or(|number| number == mutant.number)
    }
}

pub(crate) fn everything(selection: &Selection) -> Result<()> {
    let sources = sources()?;
    let mutants = list(&sources)?;
    let tree = Tree::new("target/mutants")?;
    let left_out = tree.switch(&sources, &mutants)?;
    let selected: Vec<&Mutant> = mutants.iter().filter(|mutant| selection.takes(mutant)).collect();
    let mut judge = Judge::new(&tree.programs()?, &selected)?;
    let mut outcomes = known(&tree::state()?, &mutants);
    for mutant in selected {
        // A new story may notice what survived; what was noticed stays so.
        if matches!(outcomes.get(&mutant.number), Some(Outcome::Caught(_) | Outcome::Unviable)) {
            continue;
        }
        let outcome = if !left_out.contains(&mutant.number) {
            let Some(outcome) = judge.judge(mutant.number, selection.tests)? else {
                println!("{:4} {}:{}: {}: open", mutant.number, mutant.file, mutant.line, mutant.name);
                continue;
            };
            outcome
        } else if selection.switched_only {
            continue;
        } else {
            alone(mutant, &sources)?
        };
        println!("{:4} {}:{}: {}: {outcome}", mutant.number, mutant.file, mutant.line, mutant.name);
        outcomes.insert(mutant.number, outcome);
        keep(&tree::state()?, &mutants, &outcomes)?;
    }
    report(&mutants, &outcomes)
}

/// Builds a mutant that no switch can turn on. Most of these do not compile.
fn alone(mutant: &Mutant, sources: &BTreeMap<String, String>) -> Result<Outcome> {
    let tree = Tree::new("target/mutants-alone")?;
    for (file, source) in sources {
        let text = if *file == mutant.file { mutant.alone(source) } else { source.clone() };
        tree.write(file, text)?;
    }
    if tree.compiles()? { judge::judge_alone(&tree.build()?) } else { Ok(Outcome::Unviable) }
}

fn sources() -> Result<BTreeMap<String, String>> {
    let mut paths = Vec::new();
    crate::tidy::collect(std::path::Path::new("engine/src"), "rs", &mut paths)?;
    paths.into_iter().map(|path| Ok((path.to_string_lossy().into_owned(), fs::read_to_string(&path)?))).collect()
}

fn list(sources: &BTreeMap<String, String>) -> Result<Vec<Mutant>> {
    if run::output("cargo", &["mutants", "--version"]).is_err() {
        run::cargo(&["install", "cargo-mutants", "--version", "27.1.0", "--locked"])?;
    }
    let listed: Value = serde_json::from_str(&run::output("cargo", &["mutants", "--list", "--json"])?)?;
    let entries = listed.as_array().context("cargo-mutants lists no mutants")?;
    let read = |(index, entry): (usize, &Value)| {
        let file = entry["file"].as_str().unwrap_or_default();
        let source = sources.get(file).with_context(|| format!("{file} is no file of the engine"))?;
        Mutant::read(u32::try_from(index + 1)?, entry, source)
    };
    entries.iter().enumerate().map(read).collect()
}

/// Writes the outcomes down, so that a run can go on where another ended.
fn keep(state: &str, mutants: &[Mutant], outcomes: &BTreeMap<u32, Outcome>) -> Result<()> {
    let lines = mutants.iter().filter_map(|mutant| Some(line(mutant, outcomes.get(&mutant.number)?)));
    let text: Vec<String> = std::iter::once(state.to_owned()).chain(lines).collect();
    Ok(fs::write(OUTCOMES, text.join("\n"))?)
}

/// What an earlier run of the same code found.
fn known(state: &str, mutants: &[Mutant]) -> BTreeMap<u32, Outcome> {
    let text = fs::read_to_string(OUTCOMES).unwrap_or_default();
    let lines = text.lines().skip_while(|line| *line != state).skip(1);
    let read = |line: &str| {
        let mut parts = line.splitn(5, " | ");
        let number =
            parts.next()?.parse().ok().filter(|&number| mutants.iter().any(|mutant| mutant.number == number))?;
        Some((number, Outcome::read(parts.nth(2)?)?))
    };
    lines.filter_map(read).collect()
}

/// A table of files, and the survivors that nobody has explained.
fn report(mutants: &[Mutant], outcomes: &BTreeMap<u32, Outcome>) -> Result<()> {
    let explained = fs::read_to_string(EXPLAINED).unwrap_or_default();
    let mut files: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    let (mut survivors, mut sum) = (Vec::new(), [0; 4]);
    for mutant in mutants {
        let Some(outcome) = outcomes.get(&mutant.number) else { continue };
        let column = match outcome {
            Outcome::Caught(_) => 1,
            Outcome::Unviable => 2,
            Outcome::Survived | Outcome::NotReached => 3,
        };
        let counts = files.entry(&mutant.file).or_default();
        for place in [0, column] {
            counts[place] += 1;
            sum[place] += 1;
        }
        if column == 3 && !is_explained(&explained, mutant) {
            survivors.push(line(mutant, outcome));
        }
    }
    println!("| file | mutants | caught | unviable | survivors |\n|---|---|---|---|---|");
    for (file, counts) in files.into_iter().chain([("sum", sum)]) {
        println!("| {file} | {} |", counts.map(|count| count.to_string()).join(" | "));
    }
    if survivors.is_empty() {
        return Ok(());
    }
    println!("{}", survivors.join("\n"));
    bail!("{} mutants that nothing notices and {EXPLAINED} does not explain", survivors.len())
}

fn line(mutant: &Mutant, outcome: &Outcome) -> String {
    format!("{} | {}:{} | {} | {outcome} | {}", mutant.number, mutant.file, mutant.line, words(mutant), mutant.text)
}

/// The list names a mutant by its words and the text of its line, so that it outlives a line that moves.
fn is_explained(list: &str, mutant: &Mutant) -> bool {
    let cell = |text: &str| format!("`{}`", text.replace('|', "\\|"));
    let (name, text) = (cell(&words(mutant)), cell(&mutant.text));
    list.lines().any(|line| line.contains(&name) && line.contains(&text))
}

/// A mutant's name as it is written down: the bar between patterns is the bar between columns.
fn words(mutant: &Mutant) -> String {
    mutant.name.replace(" | ", " or ")
}

/// Numbers, one a line.
fn numbers(text: &str) -> BTreeSet<u32> {
    text.lines().filter_map(|line| line.parse().ok()).collect()
}
