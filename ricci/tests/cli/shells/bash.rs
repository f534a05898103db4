//! Completion for bash. Words are compared, never evaluated: a service may bear any name. `:` splits words in bash but
//! not in `vm:guest`, therefore the line is cut at blanks, and what bash has already taken is cut off the answer.

use std::fmt::Write as _;

use ricci::cli::definition::{Completes, Definition, Operands};

use super::{offered, spellings, words};

const HEAD: &str = r#"    local line=${COMP_LINE:0:COMP_POINT} current word names=
    local -a before
    current=${line##*[[:blank:]]}
    read -ra before <<< "${line%"$current"}"
    COMPREPLY=()
    case ${before[-1]} in
"#;

const TAIL: &str = r#"    while read -r word; do
        [[ -n $word && $word == "$current"* ]] || continue
        printf -v word %q "$word"
        [[ $current == *:* && $COMP_WORDBREAKS == *:* ]] && word=${word#"${current%:*}:"}
        COMPREPLY+=("$word")
    done <<< "$names"
}
"#;

pub(crate) fn render(definition: &Definition) -> String {
    let program = definition.program;
    let mut out =
        format!("# bash completion for {program}; made from the options of the command\n\n_{program}()\n{{\n");
    out.push_str(HEAD);
    for option in offered(definition) {
        let Some(value) = option.value else { continue };
        writeln!(out, "        {}) {} ;;", spellings(option).join("|"), names(value.completes)).unwrap();
    }
    let all: Vec<String> = offered(definition).flat_map(spellings).collect();
    writeln!(
        out,
        "        *)\n            if [[ $current == -* ]]; then\n                names=$'{}'",
        all.join("\\n")
    )
    .unwrap();
    let rest = match definition.operands {
        Operands::Each(completes) | Operands::Words(_, completes) => names(completes),
    };
    if words(definition).is_empty() {
        writeln!(out, "            else\n                {rest}\n            fi ;;\n    esac").unwrap();
    } else {
        let first = words(definition);
        writeln!(
            out,
            "            elif [[ \" ${{before[*]:1}} \" != *\\ @({})\\ * ]]; then\n                names=$'{}'",
            first.join("|"),
            first.join("\\n")
        )
        .unwrap();
        writeln!(out, "            else\n                {rest}\n            fi ;;\n    esac").unwrap();
    }
    out.push_str(TAIL);
    let files = if takes_files(definition) { " -o filenames" } else { "" };
    writeln!(out, "complete{files} -F _{program} {program}").unwrap();
    out
}

fn names(completes: Completes) -> String {
    match completes {
        Completes::Nothing => "return".to_owned(),
        Completes::File => "names=$(compgen -f -- \"$current\")".to_owned(),
        Completes::Words(words) => format!("names=$'{}'", words.join("\\n")),
        Completes::Live(live) => format!("names=$(clustat --complete {} 2>/dev/null)", live.name()),
    }
}

fn takes_files(definition: &Definition) -> bool {
    let of_options =
        offered(definition).filter_map(|option| option.value).any(|value| value.completes == Completes::File);
    of_options || matches!(definition.operands, Operands::Each(Completes::File) | Operands::Words(_, Completes::File))
}
