//! Makes the completion of each shell from the options of a command. What is made lies in `packaging/completions`, as
//! packages ship it; the test that compares the two rewrites the files when asked to.

pub(crate) mod bash;
pub(crate) mod fish;
pub(crate) mod zsh;

use ricci::cli::definition::{Definition, Operands, OptionDefinition};

/// Options that are offered.
pub(crate) fn offered(definition: &Definition) -> impl Iterator<Item = &OptionDefinition> {
    definition.options.iter().filter(|option| !option.hidden)
}

/// `-m`, `--host`: every way to write it.
pub(crate) fn spellings(option: &OptionDefinition) -> Vec<String> {
    let letter = option.letter.map(|letter| format!("-{letter}"));
    letter.into_iter().chain(option.long.map(|long| format!("--{long}"))).collect()
}

/// The words that a command line begins with, if it does.
pub(crate) fn words(definition: &Definition) -> &'static [&'static str] {
    match definition.operands {
        Operands::Words(words, _) => words,
        Operands::Each(_) => &[],
    }
}
