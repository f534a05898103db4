//! Completion for fish.

use std::fmt::Write as _;

use ricci::cli::definition::{Completes, Definition, Operands};

use super::{offered, words};

pub(crate) fn render(definition: &Definition) -> String {
    let program = definition.program;
    let mut out =
        format!("# fish completion for {program}; made from the options of the command\n\ncomplete -c {program} -f\n");
    for option in offered(definition) {
        let letter = option.letter.map(|letter| format!(" -s {letter}")).unwrap_or_default();
        let long = option.long.map(|long| format!(" -l {long}")).unwrap_or_default();
        let value = option.value.map(|value| format!(" {}", argument(value.completes))).unwrap_or_default();
        let help = option.help.replace('\'', "\\'");
        writeln!(out, "complete -c {program}{letter}{long}{value} -d '{help}'").unwrap();
    }
    let (words, rest) = (
        words(definition),
        match definition.operands {
            Operands::Each(completes) | Operands::Words(_, completes) => completes,
        },
    );
    let condition = if words.is_empty() {
        String::new()
    } else {
        let list = words.join(" ");
        writeln!(out, "complete -c {program} -n 'not __fish_seen_subcommand_from {list}' -a '{list}'").unwrap();
        format!(" -n '__fish_seen_subcommand_from {list}'")
    };
    match rest {
        Completes::Nothing => {}
        Completes::File => writeln!(out, "complete -c {program}{condition} -F").unwrap(),
        Completes::Words(_) | Completes::Live(_) => {
            writeln!(out, "complete -c {program}{condition} {}", argument(rest).trim_start_matches("-x ")).unwrap();
        }
    }
    out
}

fn argument(completes: Completes) -> String {
    match completes {
        Completes::Nothing => "-x".to_owned(),
        Completes::File => "-r -F".to_owned(),
        Completes::Words(words) => format!("-x -a '{}'", words.join(" ")),
        Completes::Live(live) => format!("-x -a '(clustat --complete {} 2>/dev/null)'", live.name()),
    }
}
