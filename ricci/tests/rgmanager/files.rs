//! Files under a writer that is killed at any moment.

#![expect(clippy::print_stdout, reason = "the writer tells its parent that it has begun")]

use std::io::Read;
use std::process::{Command, Stdio};

use ricci::rgmanager::files::{Files, Paths};

const CHILD: &str = "RGMANAGER_TEST_WRITER";

/// Not a test by itself: run again as a child, it writes until it is killed.
#[test]
fn writer() {
    let Some(root) = std::env::var_os(CHILD) else { return };
    let files = Files::open(Paths::below(std::path::Path::new(&root)));
    println!("writing");
    for number in 0_u64.. {
        files.save_intents(&body(number)).unwrap();
    }
}

/// Long enough that a write takes several steps, and recognisable as whole.
fn body(number: u64) -> Vec<u8> {
    format!("{number}\n").repeat(20_000).into_bytes()
}

#[test]
fn a_file_is_whole_whenever_its_writer_is_killed() {
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::below(root.path());
    for round in 0..20_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "files::writer", "--nocapture"])
            .env(CHILD, root.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut seen = Vec::new();
        let mut stdout = child.stdout.take().unwrap();
        while !String::from_utf8_lossy(&seen).contains("writing") {
            let mut byte = [0];
            assert_eq!(stdout.read(&mut byte).unwrap(), 1);
            seen.push(byte[0]);
        }
        while !paths.intents.exists() {
            std::thread::yield_now();
        }
        // Another moment of the writer's work in every round.
        std::thread::sleep(std::time::Duration::from_micros(700 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let content = std::fs::read(&paths.intents).unwrap();
        let first = content.split(|byte| *byte == b'\n').next().unwrap();
        let number = String::from_utf8_lossy(first).parse().unwrap();
        assert!(content == body(number), "round {round}: half a file");
        Files::open(paths.clone());
        let left = std::fs::read_dir(paths.intents.parent().unwrap()).unwrap().count();
        assert_eq!(left, 1, "round {round}: unfinished files stayed");
    }
}
