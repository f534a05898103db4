//! A copy of the crates that judge the engine, with the engine's text changed. Files that are alike are not written again, so
//! that cargo builds only what differs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::numbers;
use super::switch::{Mutant, Switched, switch};
use crate::run;

const FOLDERS: &[&str] = &["shared", "engine", "tests/sim", "tests/scenarios", "fuzz/corpus"];

/// Optimised, because a build is made once and run thousands of times; with the checks of a debug build.
const PROFILE: &str = "\n[profile.mutants]\ninherits = \"dev\"\nopt-level = 1\ndebug = false\nincremental = false\n";

/// The mutants that no switch can turn on, below the state of the tree that this was found out of.
const LEFT_OUT: &str = "left-out.txt";

const PROGRAMS: &[&str] = &["engine", "law", "story", "predictions", "nonsense", "sim"];

pub(super) struct Tree {
    place: PathBuf,
}

impl Tree {
    /// Copies what is needed of the workspace into a folder.
    pub(super) fn new(folder: &str) -> Result<Self> {
        let place = run::root().join(folder);
        let tree = Self { place };
        let manifest = fs::read_to_string("Cargo.toml")?;
        let members =
            manifest.lines().find(|line| line.starts_with("members = ")).context("a workspace has members")?;
        let manifest = manifest.replace(members, "members = [\"shared\", \"engine\", \"tests/sim\"]");
        tree.write("Cargo.toml", format!("{manifest}{PROFILE}"))?;
        if !tree.place.join("tree/Cargo.lock").exists() {
            tree.write("Cargo.lock", fs::read("Cargo.lock")?)?;
        }
        for folder in FOLDERS {
            tree.copy(Path::new(folder))?;
        }
        Ok(tree)
    }

    fn copy(&self, folder: &Path) -> Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            // The engine's own text is written by whoever changes it.
            if path == Path::new("engine/src") {
                continue;
            }
            if path.is_dir() {
                self.copy(&path)?;
            } else {
                self.write(&path.to_string_lossy(), &fs::read(&path)?)?;
            }
        }
        Ok(())
    }

    /// Writes a file of the copy, unless it is so already.
    pub(super) fn write(&self, path: &str, text: impl AsRef<[u8]>) -> Result<()> {
        let (path, text) = (self.place.join("tree").join(path), text.as_ref());
        if fs::read(&path).is_ok_and(|known| known == text) {
            return Ok(());
        }
        fs::create_dir_all(path.parent().context("a file has a folder")?)?;
        fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))
    }

    /// Puts all mutants behind switches. Returns those that cannot be.
    pub(super) fn switch(&self, sources: &BTreeMap<String, String>, mutants: &[Mutant]) -> Result<BTreeSet<u32>> {
        self.write("engine/src/mutant.rs", include_str!("mutant.rs"))?;
        // Trial and error is remembered, so that the same text is not written and built twice.
        let state = state()?;
        let known = fs::read_to_string(self.place.join(LEFT_OUT)).unwrap_or_default();
        let mut left_out = if known.starts_with(&state) { numbers(&known) } else { BTreeSet::new() };
        loop {
            let mut switched = BTreeMap::new();
            for (file, source) in sources {
                let of_file = |mutant: &&Mutant| mutant.file == *file && !left_out.contains(&mutant.number);
                let here: Vec<Mutant> = mutants.iter().filter(of_file).cloned().collect();
                let mut result = switch(source, &here)?;
                if file == "engine/src/lib.rs" {
                    result.text.push_str("\npub mod mutant;\n");
                }
                self.write(file, &result.text)?;
                switched.insert(file.clone(), result);
            }
            left_out.extend(switched.values().flat_map(|file| file.left_out.iter().copied()));
            let wrong = guilty(&self.errors()?, &switched)?;
            if wrong.is_empty() {
                let list: Vec<String> = left_out.iter().map(u32::to_string).collect();
                fs::write(self.place.join(LEFT_OUT), format!("{state}\n{}\n", list.join("\n")))?;
                return Ok(left_out);
            }
            println!("{} mutants cannot be switched; again without them", wrong.len());
            left_out.extend(wrong);
        }
    }

    fn cargo(&self, words: &[&str]) -> Command {
        let mut command = Command::new(run::cargo_path());
        command
            .args(words)
            .args(["--message-format", "json", "--offline", "--profile", "mutants"])
            .current_dir(self.place.join("tree"))
            .env("CARGO_TARGET_DIR", self.place.join("build"))
            .stderr(Stdio::null());
        command
    }

    /// What the compiler refuses in the engine.
    fn errors(&self) -> Result<Vec<Value>> {
        let output =
            self.cargo(&["check", "--package", "engine", "--lib"]).output().context("cargo could not be started")?;
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        let messages = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let errors: Vec<Value> = messages
            .filter(|message| message["reason"] == "compiler-message" && message["message"]["level"] == "error")
            .map(|mut message| message["message"].take())
            .collect();
        ensure!(
            output.status.success() || !errors.is_empty(),
            "cargo check fails and names no error; look at it in {}",
            self.place.display()
        );
        Ok(errors)
    }

    pub(super) fn compiles(&self) -> Result<bool> {
        Ok(self.errors()?.is_empty())
    }

    /// The programs with all switches, built anew if anything differs from what they were built of.
    pub(super) fn programs(&self) -> Result<BTreeMap<String, PathBuf>> {
        let (state, known) = (state()?, self.place.join("programs/state.txt"));
        if fs::read_to_string(&known).is_ok_and(|text| text == state) {
            return Ok(PROGRAMS
                .iter()
                .map(|&name| (name.to_owned(), self.place.join("programs").join(name)))
                .collect());
        }
        let mut programs = self.build()?;
        fs::create_dir_all(self.place.join("programs"))?;
        for (name, path) in &mut programs {
            let kept = self.place.join("programs").join(name);
            fs::copy(&*path, &kept)?;
            *path = kept;
        }
        fs::write(known, state)?;
        Ok(programs)
    }

    /// Builds the tests and the simulator. Returns their programs by name.
    pub(super) fn build(&self) -> Result<BTreeMap<String, PathBuf>> {
        let mut words = vec!["test", "--no-run", "--package", "engine", "--package", "sim", "--lib", "--bin", "sim"];
        for test in ["law", "story", "predictions", "nonsense"] {
            words.extend(["--test", test]);
        }
        let output = self.cargo(&words).output().context("cargo could not be started")?;
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut programs = BTreeMap::new();
        for message in lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let Some(path) = message["executable"].as_str() else { continue };
            let (name, test) =
                (message["target"]["name"].as_str().unwrap_or_default(), message["profile"]["test"] == true);
            let is_program = message["target"]["kind"][0] == "bin";
            // The simulator's program has the name of its library, whose own tests are of no use here.
            if is_program && !test {
                programs.insert(name.to_owned(), PathBuf::from(path));
            } else if test && !is_program {
                programs.entry(name.to_owned()).or_insert_with(|| PathBuf::from(path));
            }
        }
        if !output.status.success() {
            bail!("the copy in {} does not build", self.place.display());
        }
        Ok(programs)
    }
}

/// What is built, in one line.
pub(super) fn state() -> Result<String> {
    let mut hasher = DefaultHasher::new();
    for folder in ["shared/src", "engine/src", "engine/tests", "tests/sim"] {
        let mut files = Vec::new();
        crate::tidy::collect(Path::new(folder), "rs", &mut files)?;
        files.sort();
        for file in files {
            (&file, fs::read(&file)?).hash(&mut hasher);
        }
    }
    Ok(format!("state {:x}", hasher.finish()))
}

/// The mutants in whose code the compiler's errors are.
fn guilty(errors: &[Value], switched: &BTreeMap<String, Switched>) -> Result<BTreeSet<u32>> {
    let mut found = BTreeSet::new();
    for error in errors {
        let spans: Vec<&Value> = error["spans"].as_array().into_iter().flatten().collect();
        if spans.is_empty() {
            continue;
        }
        let owner = |span: &&Value| {
            let places = &switched.get(span["file_name"].as_str()?)?.places;
            let at = usize::try_from(span["byte_start"].as_u64()?).ok()?;
            Some(places.iter().find(|(range, _)| range.contains(&at))?.1)
        };
        let (primary, other): (Vec<_>, Vec<_>) = spans.iter().copied().partition(|span| span["is_primary"] == true);
        let owners: Vec<u32> = primary.iter().filter_map(owner).collect();
        let owners = if owners.is_empty() { other.iter().filter_map(owner).collect() } else { owners };
        if owners.is_empty() {
            bail!("an error of the compiler belongs to no mutant: {}", error["rendered"].as_str().unwrap_or_default());
        }
        found.extend(owners);
    }
    Ok(found)
}
