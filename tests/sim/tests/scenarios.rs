//! Runs every story of tests/scenarios and compares its transcript. `UPDATE_EXPECT=1` writes the transcripts anew.

use std::path::{Path, PathBuf};

use sim::scenario::Story;

fn stories() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder of scenarios can be read")
        .map(|entry| entry.expect("the folder of scenarios can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_story_goes_as_it_is_written() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let files = stories();
    assert!(files.len() >= 150, "only {} stories were found", files.len());
    // Each story is a world of its own; two at a time halve the wait.
    let (even, odd): (Vec<_>, Vec<_>) = files.iter().enumerate().partition(|(index, _)| index % 2 == 0);
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let halves = [even, odd].map(|half| {
            scope.spawn(move || half.into_iter().filter_map(|(_, file)| complaint(file, update)).collect::<Vec<_>>())
        });
        halves.into_iter().flat_map(|half| half.join().expect("a story does not panic")).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// What is wrong with a story; with `update` what came out is written instead.
fn complaint(file: &Path, update: bool) -> Option<String> {
    let text = std::fs::read_to_string(file).expect("a story can be read");
    let story = Story::parse(&text).expect("a story begins with its sentence");
    let name = file.file_name().expect("a story has a name").to_string_lossy().into_owned();
    match story.run(&file.with_file_name("conf"), false) {
        Err(error) => Some(format!("{name}: {error:#}")),
        Ok(transcript) if transcript == story.expected => None,
        Ok(transcript) if update => {
            std::fs::write(file, format!("{}----\n{transcript}", story.head)).expect("a story can be written");
            None
        }
        Ok(transcript) => Some(format!("{name}: expected\n{}\nbut it went\n{transcript}", story.expected)),
    }
}
