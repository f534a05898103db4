//! One list of options per command: what the parser reads is what the manual page and the usage name and what shells
//! complete, and nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::fake::{FakeRgmanager, Say, service, three_nodes};
use crate::pages::Shown;
use crate::shells::spellings;
use clap::CommandFactory as _;
use expect_test::expect_file;
use ricci::agent::arguments::Arguments;
use ricci::cli::definition::{ALL, Completes, Definition, OptionDefinition};
use shared::ids::{ConfDigest, ConfVersion, NodeName};
use shared::socket::{Ask, Reply};
use shared::status::ClusterStatus;
use shared::text::ServiceState;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All spellings except `-?`, which only getopt(3) knows about.
fn known(definition: &Definition) -> BTreeSet<String> {
    definition.options.iter().flat_map(spellings).filter(|spelling| spelling != "-?").collect()
}

/// The options that an mdoc page names: what follows `Fl`, a letter at a time unless it begins with a dash.
fn named_in_page(page: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for line in page.lines() {
        let mut is_flag = false;
        for word in line.trim_start_matches('.').split_whitespace() {
            match word {
                "Fl" => is_flag = true,
                "|" => {}
                _ if !is_flag => {}
                _ if word.starts_with('-') => {
                    named.insert(format!("-{word}"));
                }
                // A macro, or the end of the list of letters.
                _ if word.starts_with(char::is_uppercase) && word.len() == 2
                    || !word.chars().all(char::is_alphanumeric) =>
                {
                    is_flag = false;
                }
                letters => named.extend(letters.chars().map(|letter| format!("-{letter}"))),
            }
        }
    }
    named
}

/// The options that a usage names: words that begin with a dash, in brackets or not.
fn named_in_usage(usage: &str) -> BTreeSet<String> {
    let words = usage.split(|letter: char| letter.is_whitespace() || "[]|,()'".contains(letter));
    let options = words.map(|word| word.trim_end_matches([':', ';', '.'])).filter(|word| word.len() > 1);
    let mut named = BTreeSet::new();
    for option in options.filter(|word| word.starts_with('-')) {
        if option.starts_with("--") {
            named.insert(option.to_owned());
        } else {
            named.extend(option.chars().skip(1).map(|letter| format!("-{letter}")));
        }
    }
    named
}

#[test]
fn the_manual_page_of_each_command_names_all_its_options_and_no_other() {
    let mut differing = Vec::new();
    for definition in ALL {
        let page = std::fs::read_to_string(root().join(format!("docs/man/{}.8", definition.program))).unwrap();
        let (named, known) = (named_in_page(&page), known(definition));
        let missing: Vec<_> = known.difference(&named).collect();
        let strangers: Vec<_> = named.difference(&known).collect();
        if named != known {
            differing.push(format!("{}.8 lacks {missing:?}, and tells of {strangers:?}", definition.program));
        }
    }
    assert!(differing.is_empty(), "{differing:#?}");
}

/// Programs whose options are declared to clap, which prints them.
#[test]
fn the_manual_pages_of_the_daemons_name_what_their_help_prints() {
    for (program, path) in [("ricci", env!("CARGO_BIN_EXE_ricci")), ("rgmanager", env!("CARGO_BIN_EXE_rgmanager"))] {
        let page = std::fs::read_to_string(root().join(format!("docs/man/{program}.8"))).unwrap();
        let help = Command::new(path).arg("--help").output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        let of_help = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
        let offered: BTreeSet<String> = of_help
            .flat_map(|line| line.split([' ', ',']).filter(|word| word.starts_with("--")).map(str::to_owned))
            .collect();
        let named: BTreeSet<String> = named_in_page(&page).into_iter().filter(|name| name.starts_with("--")).collect();
        assert_eq!(named, offered, "left: {program}.8, right: {program} --help");
        let commands = help
            .split("Commands:")
            .nth(1)
            .unwrap_or_default()
            .lines()
            .skip(1)
            .map_while(|line| line.strip_prefix("  ").and_then(|line| line.split_whitespace().next()));
        for command in commands.filter(|command| *command != "help") {
            assert!(page.contains(&format!("Cm {command}")), "{program}.8 does not tell of '{command}'");
        }
    }
}

#[test]
fn the_usage_of_each_command_names_all_options_that_are_offered_and_none_that_is_not_read() {
    for definition in ALL {
        let help = if definition.program == "ccs" { "--help" } else { "-h" };
        let usage = crate::fake::run(definition.program, &[help], Path::new("/nonexistent/rgmanager.sk"), "").out;
        let (named, known) = (named_in_usage(&usage), known(definition));
        let strangers: Vec<_> = named.difference(&known).collect();
        assert!(strangers.is_empty(), "{} does not read {strangers:?}\n{usage}", definition.program);
        let offered: BTreeSet<String> = crate::shells::offered(definition).flat_map(spellings).collect();
        let missing: Vec<_> = offered.difference(&named).collect();
        assert!(missing.is_empty(), "{} does not say {missing:?}\n{usage}", definition.program);
    }
}

fn shown(option: &OptionDefinition) -> Shown {
    let value = option.value.map(|value| match value.completes {
        Completes::Words(words) => format!("Cm {}", words.join(" | ")),
        _ => format!("Ar {}", value.name.to_lowercase()),
    });
    let (then, help) = (option.then.to_owned(), option.help.to_owned());
    Shown { spellings: spellings(option), value, then, help, hidden: option.hidden }
}

#[test]
fn the_lists_of_options_in_manual_pages_are_made_from_the_options() {
    for definition in ALL {
        let options: Vec<Shown> = definition.options.iter().map(shown).collect();
        crate::pages::holds(definition.program, &options);
    }
    crate::pages::holds("ricci", &crate::pages::of_clap(Arguments::command()));
}

/// A page and a definition that differ in every way there is.
#[test]
fn a_list_keeps_its_prose_and_follows_the_options_in_everything_else() {
    let option = |spellings: &[&str], value: Option<&str>, then: &str, help: &str| Shown {
        spellings: spellings.iter().map(|text| (*text).to_owned()).collect(),
        value: value.map(str::to_owned),
        then: then.to_owned(),
        help: help.to_owned(),
        hidden: false,
    };
    let options = [
        option(&["-m", "--member"], Some("Ar member"), "", "only this member"),
        option(&["--add"], Some("Ar name"), "NODE [ordered] [--votes N] [ACTION [OPTIONS]]", "add it"),
        option(&["--votes"], Some("Ar n"), "", "its votes"),
        option(&["-q"], None, "", "be quiet"),
    ];
    let page = "\
.Bl -tag\n.It Fl m\nNot marked.\n.El
.\\\" The heads of this list are made from the definitions of the options.
.Bl -tag -width x
.It Cm word
Stays.
.It Fl m Ar node
Written by hand.\n.Bl -tag\n.It Li inner\n.El
.It Fl x
Gone, and its prose.
.It Fl -add
.It Fl -votes
Votes.
.El
";
    let expected = "\
.Bl -tag\n.It Fl m\nNot marked.\n.El
.\\\" The heads of this list are made from the definitions of the options.
.Bl -tag -width x
.It Cm word
Stays.
.It Fl m , Fl -member Ar member
Written by hand.\n.Bl -tag\n.It Li inner\n.El
.It Fl -add Ar name Ar node Oo Cm ordered Oc Oo Fl -votes Ar n Oc Oo Ar action Oo Ar options Oc Oc
Add it.
.It Fl -votes Ar n
Votes.
.It Fl q
Be quiet.
.El
";
    assert_eq!(crate::pages::render(page, &options), expected);
    assert_eq!(crate::pages::render(expected, &options), expected, "what is made is left alone");
}

#[test]
fn what_packages_ship_for_shells_is_made_from_the_options() {
    for definition in ALL {
        let (program, folder) = (definition.program, root().join("packaging/completions"));
        expect_file![folder.join("bash").join(program)].assert_eq(&crate::shells::bash::render(definition));
        expect_file![folder.join("zsh").join(format!("_{program}"))].assert_eq(&crate::shells::zsh::render(definition));
        expect_file![folder.join("fish").join(format!("{program}.fish"))]
            .assert_eq(&crate::shells::fish::render(definition));
    }
    crate::pages::completions_hold(&mut Arguments::command());
}

fn status() -> ClusterStatus {
    let mut status = three_nodes();
    // A name that must not be run by whoever completes it.
    status.services.push(service("service:$(touch pwned)", ServiceState::Started, None, None));
    status.waits_for_fencing_of = vec![NodeName::from("node3")];
    status
}

fn with_conf() -> FakeRgmanager {
    let text = std::fs::read_to_string(root().join("tests/fixtures/conf/three-node-nested.conf")).unwrap();
    FakeRgmanager::start(move |ask| match ask {
        Ask::Status => Say::Reply(Reply::Status { status: Box::new(status()) }),
        Ask::Conf => {
            Say::Reply(Reply::Conf { version: ConfVersion(1), digest: ConfDigest::from("00"), text: text.clone() })
        }
        _ => Say::HangUp,
    })
}

#[test]
fn names_for_shells_come_from_the_cluster_one_a_line() {
    let fake = with_conf();
    fake.run("clustat", &["--complete", "nodes"]).expect(0, "node1\nnode2\nnode3\n");
    fake.run("clustat", &["--complete", "services"]).expect(0, "db\nweb\nvm:guest1\n$(touch pwned)\n");
    fake.run("clustat", &["--complete", "victims"]).expect(0, "node3\n");
    fake.run("clustat", &["--complete", "others"]).expect(1, "");
    let conf = shared::conf::load(
        &std::fs::read_to_string(root().join("tests/fixtures/conf/three-node-nested.conf")).unwrap(),
    );
    let conf = conf.conf.unwrap();
    let devices: String = conf.fence_devices.iter().map(|device| format!("{}\n", device.name)).collect();
    let domains: String = conf.domains.iter().map(|domain| format!("{}\n", domain.name)).collect();
    assert!(!devices.is_empty() && !domains.is_empty());
    fake.run("clustat", &["--complete", "devices"]).expect(0, &devices);
    fake.run("clustat", &["--complete", "domains"]).expect(0, &domains);
}

#[test]
fn without_a_cluster_names_come_from_the_file_or_not_at_all_and_silently() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("rgmanager.sk");
    let run = |kind: &str| crate::fake::run("clustat", &["--complete", kind], &socket, "");
    for kind in ["nodes", "services", "devices", "domains", "victims"] {
        run(kind).expect(0, "");
    }
    std::fs::copy(root().join("tests/fixtures/conf/two-node-apache.conf"), folder.path().join("cluster.conf")).unwrap();
    assert_eq!(run("nodes").out.lines().count(), 2);
    assert!(!run("services").out.is_empty() && !run("services").out.contains("service:"));
}

/// Runs a shell with the commands under test first in its path.
fn shell(fake: &FakeRgmanager, program: &str, script: &str) -> Option<String> {
    let programs = Path::new(env!("CARGO_BIN_EXE_clustat")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let ran = Command::new(program)
        .args(["-c", script])
        .current_dir(root().join("packaging/completions"))
        .env("RGMANAGER_SOCKET", fake.socket())
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    assert_eq!(String::from_utf8_lossy(&ran.stderr), "", "{script}");
    Some(String::from_utf8(ran.stdout).unwrap())
}

const LINES: &[(&str, &str)] = &[
    ("clusvcadm -r w", "web"),
    ("clusvcadm -r web -m node", "node1 node2 node3"),
    ("clusvcadm -r web ", "node1 node2 node3"),
    ("clustat -o j", "json"),
    ("fence_ack_manual ", "node3"),
    ("fence_node node2", "node2"),
    ("cman_tool le", "leave"),
    ("cman_tool kill -n node3", "node3"),
    ("rg_test no", "noop"),
    ("ccs -h node1 --lsfailover", "--lsfailoverdomain"),
    ("ccs --rmservice d", "db"),
    ("clustat -i ", ""),
];

/// Programs whose completion is made by clap's own generator. For fish it knows the words of an option only behind a
/// command, or behind `=`.
const LINES_OF_DAEMONS: &[(&str, &str)] = &[
    ("ricci to", "token"),
    ("ricci --legacy-p", "--legacy-protocol"),
    ("ricci serve --legacy-protocol of", "off"),
    ("luci user re", "reset remove-factor remove"),
    ("luci ba", "backup"),
];

#[test]
fn bash_completes_members_services_and_words() {
    let fake = with_conf();
    let complete = |line: &str| {
        let program = line.split(' ').next().unwrap();
        let script = format!(
            "source bash/{program}; COMP_LINE='{line}' COMP_POINT={}; _{program}; echo \"${{COMPREPLY[*]}}\"",
            line.len()
        );
        shell(&fake, "bash", &script).unwrap()
    };
    for (line, expected) in LINES {
        assert_eq!(complete(line).trim_end(), *expected, "{line}");
    }
    assert_eq!(complete("clusvcadm -e vm:g").trim_end(), "guest1", "bash has taken 'vm:' already");
    assert_eq!(complete("clusvcadm -e $").trim_end(), "\\$\\(touch\\ pwned\\)", "quoted and not run");
}

#[test]
fn fish_completes_the_same() {
    let fake = with_conf();
    for (line, expected) in LINES {
        let program = line.split(' ').next().unwrap();
        let Some(told) = shell(&fake, "fish", &format!("source fish/{program}.fish; complete -C '{line}'")) else {
            // A desk without this shell tests the others.
            return;
        };
        let words: Vec<&str> = told.lines().filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(words.join(" "), *expected, "{line}");
    }
}

/// In a zsh on a terminal of its own: a line is typed, the tab key is pressed, and what would be offered is told instead
/// of shown. `ready`, `hit` and `end` are told between bytes that no line and no name has.
const ZSH_INSIDE: &str = r#"
PROMPT= ; RPROMPT=
fpath=($PWD/zsh $fpath)
autoload -U compinit && compinit -u -D
compadd() {
    # Whoever asks what would match, without offering it, is answered.
    local option
    for option in "$@"; do
        [[ $option == (-|--) ]] && break
        [[ $option == -[a-zA-Z]#[OAD]* ]] && { builtin compadd "$@"; return }
    done
    local -a hits
    builtin compadd -A hits "$@"
    local hit
    for hit in $hits; do print -rn -- $'\x02hit '"$hit"$'\x03'; done
    (( $#hits ))
}
told() { compstate[insert]= ; compstate[list]= ; print -rn -- $'\x02end\x03' }
# Before each completion anew: functions of this list are forgotten when they have run.
press() { comppostfuncs=(told); zle complete-word }
zle -N press && bindkey '^I' press
setopt extended_glob
print -rn -- $'\x02ready\x03'
"#;

const ZSH_OUTSIDE: &str = r#"
zmodload zsh/zpty
zpty terminal zsh -f -i
zpty -w terminal "source $INSIDE"
zpty -r terminal out $'*\x02ready\x03*'
while IFS= read -r line; do
    zpty -wn terminal "$line"$'\t'
    zpty -r terminal out $'*\x02end\x03*'
    print -rn -- "$out"
    zpty -wn terminal $'\x15'
done
zpty -d terminal
"#;

fn between<'t>(text: &'t str, begin: &str) -> Vec<&'t str> {
    text.split(begin).skip(1).filter_map(|rest| rest.split('\x03').next()).collect()
}

#[test]
fn zsh_completes_the_same() {
    let fake = with_conf();
    if shell(&fake, "zsh", "").is_none() {
        // A desk without this shell tests the others.
        return;
    }
    let lines = LINES.iter().chain(LINES_OF_DAEMONS);
    let typed = lines.clone().map(|(line, _)| format!("{line}\n")).collect();
    let folder = fake.socket().parent().unwrap().to_owned();
    let files = [("inside.zsh", ZSH_INSIDE.to_owned()), ("outside.zsh", ZSH_OUTSIDE.to_owned()), ("typed", typed)];
    for (name, text) in files {
        std::fs::write(folder.join(name), text).unwrap();
    }
    // A completion that never ends is told as one that offered nothing.
    let script =
        "INSIDE=$0/inside.zsh timeout 120 zsh $0/outside.zsh < $0/typed".replace("$0", folder.to_str().unwrap());
    let told = shell(&fake, "bash", &script).unwrap();
    let offered: Vec<Vec<&str>> = told.split("\x02end\x03").map(|part| between(part, "\x02hit ")).collect();
    assert_eq!(offered.len(), lines.clone().count() + 1, "{told:?}");
    for ((line, expected), offered) in lines.zip(offered) {
        assert_eq!(offered.join(" "), *expected, "{line}");
    }
}

#[test]
fn bash_and_fish_complete_the_daemons_commands() {
    let fake = with_conf();
    for (line, expected) in LINES_OF_DAEMONS {
        let program = line.split(' ').next().unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let (current, before) = (words[words.len() - 1], words[words.len() - 2]);
        let script = format!(
            "source bash/{program}; COMP_WORDS=({line}); COMP_CWORD={}; _{program} {program} '{current}' '{before}'; echo \"${{COMPREPLY[*]}}\"",
            words.len() - 1,
        );
        assert_eq!(shell(&fake, "bash", &script).unwrap().trim_end(), *expected, "bash: {line}");
        if let Some(told) = shell(&fake, "fish", &format!("source fish/{program}.fish; complete -C '{line}'")) {
            // fish has an order of its own.
            let words: BTreeSet<&str> = told.lines().filter_map(|line| line.split('\t').next()).collect();
            assert_eq!(words, expected.split(' ').collect(), "fish: {line}");
        }
    }
}

/// What formatters of manual pages say of this page: nothing.
fn complaints(program: &str, arguments: &[&str], page: &Path) -> Option<String> {
    let ran = Command::new(program).args(arguments).arg(page).stdin(Stdio::null()).output().ok()?;
    Some(String::from_utf8(ran.stderr).unwrap() + &String::from_utf8(ran.stdout).unwrap())
}

#[test]
fn formatters_have_nothing_to_say_of_the_manual_pages() {
    for entry in std::fs::read_dir(root().join("docs/man")).unwrap() {
        let page = entry.unwrap().path();
        let groff = complaints("groff", &["-mdoc", "-ww", "-z", "-Tutf8"], &page);
        assert_eq!(groff.unwrap_or_default(), "", "groff -ww {}", page.display());
        // A desk without one of them tests with the other.
        let mandoc = complaints("mandoc", &["-Tlint", "-Wwarning"], &page);
        assert_eq!(mandoc.unwrap_or_default(), "", "mandoc -Tlint {}", page.display());
    }
}
