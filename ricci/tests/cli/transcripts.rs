//! The transcripts of all commands (`tests/commands/*.txt`), played against a node that is simulated and needs no root; and
//! that none is missing: every spelling of every option, every word that a command line begins with, and every
//! kind of bad input has its case.

use std::collections::{BTreeMap, BTreeSet};

use crate::agent_support::Node;
use crate::shells::{spellings, words};
use crate::transcript::stage::Stage;
use crate::transcript::{KINDS, Step, Transcript, all, folder, play, read};
use expect_test::expect_file;
use ricci::cli::definition::{ALL, Definition};
use ricci::cli::getopt::{Getopt, Item};

const DEMO: &str = "cat <<'E'
<?xml version=\"1.0\"?>
<resource-agent name=\"fence_demo\" shortdesc=\"Demo\"><parameters>
<parameter name=\"ip\" required=\"1\"><content type=\"string\"/></parameter>
</parameters></resource-agent>
E";

/// A ricci of its own, behind the word HOST; `stage` is where its user sits.
fn host(mut stage: Stage) -> (Stage, Node) {
    let node = Node::start();
    let address = format!("127.0.0.1:{}", node.port);
    let folder = node.folder.path().display().to_string();
    let draft = (format!("draft-127.0.0.1_{}", node.port), "draft-HOST".to_owned());
    stage.said_as = vec![(address.clone(), "HOST".to_owned()), draft, (folder, "(host)".to_owned())];
    stage.typed_as = vec![("HOST".to_owned(), address), ("TOKEN".to_owned(), node.token())];
    let daemon = "case \"$1\" in -v|--version) echo version 3.1.4; exit;; esac; exec sleep 600";
    node.script("bin/corosync", daemon);
    node.script("bin/rgmanager", daemon);
    node.script("bin/corosync-cfgtool", "exit 0");
    node.script("fence/fence_demo", DEMO);
    (stage, node)
}

/// The same, a member of a cluster that runs.
fn host_in_cluster(rgmanager: &str) -> (Stage, Node) {
    let (stage, node) = host(Stage::named(rgmanager));
    std::fs::create_dir_all(node.path("etc/corosync")).unwrap();
    std::fs::write(node.conf_path(), "<cluster name=\"alpha\" config_version=\"9\"><clusternodes><clusternode name=\"127.0.0.1\" nodeid=\"1\"/></clusternodes></cluster>\n").unwrap();
    std::fs::write(node.path("etc/corosync/authkey"), [1; 128]).unwrap();
    stage.show_socket_at(&node.path("rgmanager.sk"));
    (stage, node)
}

fn stage(name: &str) -> Stage {
    let (mut stage, node) = match name {
        "host" => host(Stage::without_daemon()),
        "host in a cluster" => host_in_cluster("cluster"),
        "host whose agents refuse" => host_in_cluster("refused by agents"),
        other => return Stage::named(other),
    };
    stage.keeps.push(Box::new(node));
    stage
}

fn holds(name: &str) {
    let path = folder().join(format!("{name}.txt"));
    let played =
        play(&read(&path), stage, |stage, name, text| stage.write(name, text), |stage, command| stage.run(command));
    expect_file![path].assert_eq(&played);
}

macro_rules! transcripts {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            holds(stringify!($name));
        })*

        /// `live` is played by `cli_story`, which has a corosync.
        #[test]
        fn every_transcript_is_played() {
            let played: BTreeSet<&str> = [$(stringify!($name),)* "live"].into();
            let found = all();
            let found: BTreeSet<&str> = found.iter().map(name_of).collect();
            assert_eq!(found, played);
        }
    };
}

transcripts! {
    ccs ccs_config_validate ccs_host clustat clusvcadm cman_tool fence_ack_manual fence_check fence_node fence_tool rg_test
}

fn name_of(transcript: &Transcript) -> &str {
    transcript.path.file_stem().unwrap().to_str().unwrap()
}

/// What the commands of all transcripts use of this definition.
fn used(transcripts: &[Transcript], definition: &'static Definition) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let commands = transcripts.iter().flat_map(|transcript| &transcript.steps).filter_map(|step| match step {
        Step::Command(command) => Some(command.words()),
        _ => None,
    });
    for typed in commands.filter(|typed| typed[0] == definition.program) {
        let mut getopt = Getopt::new(definition, typed[1..].iter().cloned());
        for item in getopt.by_ref() {
            match item {
                Item::Flag(letter) | Item::Value(letter, _) => used.insert(format!("-{letter}")),
                Item::Long(name, _) => used.insert(format!("--{name}")),
                Item::Unknown(_) => false,
            };
        }
        used.extend(getopt.into_operands().into_iter().next());
    }
    used
}

#[test]
fn every_option_and_every_word_of_every_command_is_typed_in_a_transcript() {
    let transcripts = all();
    let missing: BTreeMap<&str, Vec<String>> = ALL
        .iter()
        .map(|definition| {
            let used = used(&transcripts, definition);
            let known = definition.options.iter().flat_map(spellings);
            let known = known.chain(words(definition).iter().map(|word| (*word).to_owned()));
            (definition.program, known.filter(|known| !used.contains(known)).collect::<Vec<_>>())
        })
        .filter(|(_, missing)| !missing.is_empty())
        .collect();
    assert!(missing.is_empty(), "no transcript shows {missing:#?}");
}

#[test]
fn every_command_has_a_case_of_every_kind_of_bad_input_or_says_why_not() {
    let transcripts = all();
    let mut cases: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for transcript in &transcripts {
        let mut kind = None;
        for step in &transcript.steps {
            match step {
                Step::Case(name) => {
                    assert!(KINDS.contains(&name.as_str()), "{}: what is '{name}'?", transcript.path.display());
                    kind = Some(name.clone());
                }
                Step::NoCase(text) => {
                    let (program, rest) = text.strip_prefix("case ").and_then(|text| text.split_once(' ')).unwrap();
                    let (kind, why) = rest.split_once(": ").unwrap();
                    assert!(KINDS.contains(&kind) && !why.is_empty(), "{text}");
                    cases.entry(program.to_owned()).or_default().insert(kind.to_owned());
                }
                Step::Command(command) => {
                    let program = command.words().swap_remove(0);
                    cases.entry(program).or_default().extend(kind.take());
                }
                Step::Words(_) | Step::Stage(_) | Step::File { .. } => {}
            }
        }
    }
    let none = BTreeSet::new();
    let missing: Vec<String> = ALL
        .iter()
        .flat_map(|definition| {
            let met = cases.get(definition.program).unwrap_or(&none);
            KINDS.iter().filter(|kind| !met.contains(**kind)).map(|kind| format!("{} {kind}", definition.program))
        })
        .collect();
    assert!(missing.is_empty(), "no case of {missing:#?}");
}
