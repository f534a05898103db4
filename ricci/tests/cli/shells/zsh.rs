//! Completion for zsh.

use std::fmt::Write as _;

use ricci::cli::definition::{Completes, Definition, Operands};

use super::{offered, spellings, words};

pub(crate) fn render(definition: &Definition) -> String {
    let program = definition.program;
    let mut out =
        format!("#compdef {program}\n# zsh completion for {program}; made from the options of the command\n\n");
    out.push_str("_arguments -s -S \\\n");
    for option in offered(definition) {
        let argument = option.value.map(|value| format!(":{}:{}", value.name, action(value.completes)));
        for spelling in spellings(option) {
            let text =
                format!("*{spelling}[{}]{}", option.help.replace(']', "\\]"), argument.clone().unwrap_or_default());
            writeln!(out, "    '{}' \\", text.replace('\'', "'\\''")).unwrap();
        }
    }
    let rest = match definition.operands {
        Operands::Each(completes) | Operands::Words(_, completes) => action(completes),
    };
    if !words(definition).is_empty() {
        writeln!(out, "    '1:command:({})' \\", words(definition).join(" ")).unwrap();
    }
    writeln!(out, "    '*:argument:{rest}'").unwrap();
    out
}

fn action(completes: Completes) -> String {
    match completes {
        Completes::Nothing => " ".to_owned(),
        Completes::File => "_files".to_owned(),
        Completes::Words(words) => format!("({})", words.join(" ")),
        Completes::Live(live) => {
            format!("{{compadd -- ${{(f)\"$(clustat --complete {} 2>/dev/null)\"}}}}", live.name())
        }
    }
}
