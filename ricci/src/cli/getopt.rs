//! Options the way getopt(3) reads them: bundled letters (`-fx`), arguments attached or apart (`-mX`, `-m X`), `--`,
//! operands anywhere, and letters handed out one by one in the order typed, because some commands act on a letter
//! as soon as they see it. A long option may be cut to its beginning while that is unmistakable, as getopt_long(3)
//! allows.
//!
//! Used by every command; decides nothing about what a letter means.

use std::collections::VecDeque;

use super::definition::{Definition, OptionDefinition};

/// One thing found among the arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A letter without argument.
    Flag(char),
    /// A letter with its argument.
    Value(char, String),
    /// A long option with its argument, if it takes one.
    Long(&'static str, Option<String>),
    /// Something that is no option of this command: the sentence getopt(3) would print, without the program's name.
    Unknown(String),
}

/// Reads arguments one by one.
#[derive(Debug)]
pub struct Getopt {
    options: &'static [OptionDefinition],
    arguments: VecDeque<String>,
    /// The rest of a bundle of letters.
    bundle: VecDeque<char>,
    operands: Vec<String>,
}

impl Getopt {
    /// Reads `arguments` by the options of a command.
    pub fn new(definition: &Definition, arguments: impl IntoIterator<Item = String>) -> Self {
        Self {
            options: definition.options,
            arguments: arguments.into_iter().collect(),
            bundle: VecDeque::new(),
            operands: Vec::new(),
        }
    }

    /// The arguments that are no options, once all options are read.
    pub fn into_operands(self) -> Vec<String> {
        self.operands
    }

    fn long_option(&mut self, text: &str) -> Item {
        let (typed, attached) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let (name, takes_value) = match self.find_long(typed) {
            Ok(found) => found,
            Err(sentence) => return Item::Unknown(sentence),
        };
        if !takes_value {
            return match attached {
                Some(_) => Item::Unknown(format!("option '--{name}' doesn't allow an argument")),
                None => Item::Long(name, None),
            };
        }
        match attached.or_else(|| self.arguments.pop_front()) {
            Some(value) => Item::Long(name, Some(value)),
            None => Item::Unknown(format!("option '--{name}' requires an argument")),
        }
    }

    /// By the whole name, else by a beginning that only one name has.
    fn find_long(&self, typed: &str) -> Result<(&'static str, bool), String> {
        let named = || self.options.iter().filter_map(|option| Some((option.long?, option.value.is_some())));
        if let Some(found) = named().find(|(name, _)| *name == typed) {
            return Ok(found);
        }
        let beginnings: Vec<_> = named().filter(|(name, _)| !typed.is_empty() && name.starts_with(typed)).collect();
        match beginnings[..] {
            [one] => Ok(one),
            [] => Err(format!("unrecognized option '--{typed}'")),
            _ => {
                let names: Vec<String> = beginnings.iter().map(|(name, _)| format!("'--{name}'")).collect();
                Err(format!("option '--{typed}' is ambiguous; possibilities: {}", names.join(" ")))
            }
        }
    }

    fn letter(&mut self, letter: char) -> Item {
        let Some(option) = self.options.iter().find(|option| option.letter == Some(letter)) else {
            return Item::Unknown(format!("invalid option -- '{letter}'"));
        };
        if option.value.is_none() {
            return Item::Flag(letter);
        }
        let attached: String = self.bundle.drain(..).collect();
        if !attached.is_empty() {
            return Item::Value(letter, attached);
        }
        match self.arguments.pop_front() {
            Some(value) => Item::Value(letter, value),
            None => Item::Unknown(format!("option requires an argument -- '{letter}'")),
        }
    }
}

impl Iterator for Getopt {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(letter) = self.bundle.pop_front() {
                return Some(self.letter(letter));
            }
            let argument = self.arguments.pop_front()?;
            if argument == "--" {
                self.operands.extend(self.arguments.drain(..));
                return None;
            }
            if let Some(text) = argument.strip_prefix("--") {
                return Some(self.long_option(text));
            }
            match argument.strip_prefix('-') {
                Some(letters) if !letters.is_empty() => self.bundle = letters.chars().collect(),
                _ => self.operands.push(argument),
            }
        }
    }
}

/// The arguments of this process without the program's name. Bytes that are no UTF-8 cannot name anything of a
/// cluster.conf; they are kept recognisable for the message that says so.
pub fn process_arguments() -> Vec<String> {
    std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::definition::{Completes, Operands, flag, long, long_value, value};

    const DEFINITION: Definition = Definition {
        program: "example",
        purpose: "",
        options: &[
            flag('f', ""),
            value('s', "SERVICE", Completes::Nothing, ""),
            value('m', "MEMBER", Completes::Nothing, ""),
            flag('x', ""),
            flag('?', ""),
            long_value("why", "SERVICE", Completes::Nothing, ""),
            long("plan", ""),
            long("place", ""),
        ],
        operands: Operands::Each(Completes::Nothing),
    };

    fn read(arguments: &[&str]) -> (Vec<Item>, Vec<String>) {
        let mut options = Getopt::new(&DEFINITION, arguments.iter().map(|text| (*text).to_owned()));
        let items = options.by_ref().collect();
        (items, options.into_operands())
    }

    #[test]
    fn letters_can_be_bundled_and_the_last_may_take_the_rest_or_the_next_word() {
        assert_eq!(read(&["-fx"]).0, [Item::Flag('f'), Item::Flag('x')]);
        assert_eq!(read(&["-fmnode1"]).0, [Item::Flag('f'), Item::Value('m', "node1".into())]);
        assert_eq!(
            read(&["-fm", "node1", "-x"]).0,
            [Item::Flag('f'), Item::Value('m', "node1".into()), Item::Flag('x')]
        );
        assert_eq!(read(&["-s", "-x"]).0, [Item::Value('s', "-x".into())], "an argument may look like an option");
    }

    #[test]
    fn operands_may_stand_anywhere_and_two_dashes_end_the_options() {
        let (items, operands) = read(&["web", "-f", "node1", "--", "-x", "-"]);
        assert_eq!(items, [Item::Flag('f')]);
        assert_eq!(operands, ["web", "node1", "-x", "-"]);
    }

    #[test]
    fn what_is_no_option_is_told_as_getopt_tells_it() {
        assert_eq!(read(&["-z"]).0, [Item::Unknown("invalid option -- 'z'".into())]);
        assert_eq!(read(&["-:"]).0, [Item::Unknown("invalid option -- ':'".into())]);
        assert_eq!(read(&["-s"]).0, [Item::Unknown("option requires an argument -- 's'".into())]);
        assert_eq!(read(&["--whz"]).0, [Item::Unknown("unrecognized option '--whz'".into())]);
        assert_eq!(read(&["-?"]).0, [Item::Flag('?')]);
    }

    #[test]
    fn long_options_take_their_value_after_an_equals_sign_or_as_the_next_word() {
        assert_eq!(read(&["--why=web", "--plan"]).0, [Item::Long("why", Some("web".into())), Item::Long("plan", None)]);
        assert_eq!(read(&["--why", "web"]).0, [Item::Long("why", Some("web".into()))]);
        assert_eq!(read(&["--plan=1"]).0, [Item::Unknown("option '--plan' doesn't allow an argument".into())]);
    }

    #[test]
    fn a_long_option_may_be_cut_while_only_one_begins_like_that() {
        assert_eq!(read(&["--w=web"]).0, [Item::Long("why", Some("web".into()))]);
        assert_eq!(
            read(&["--pla"]).0,
            [Item::Unknown("option '--pla' is ambiguous; possibilities: '--plan' '--place'".into())]
        );
        assert_eq!(read(&["--=web"]).0, [Item::Unknown("unrecognized option '--'".into())]);
    }
}
