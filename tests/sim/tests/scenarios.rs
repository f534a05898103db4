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
    let mut wrong = Vec::new();
    for file in files {
        let story = Story::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        match story.run(&file.with_file_name("conf"), false) {
            Err(error) => wrong.push(format!("{name}: {error:#}")),
            Ok(transcript) if transcript == story.expected => {}
            Ok(transcript) if update => std::fs::write(&file, format!("{}----\n{transcript}", story.head)).unwrap(),
            Ok(transcript) => wrong.push(format!("{name}: expected\n{}\nbut it went\n{transcript}", story.expected)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
