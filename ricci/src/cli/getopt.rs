//! Options the way getopt(3) reads them: bundled letters (`-fx`), arguments attached or apart (`-mX`, `-m X`), `--`,
//! operands anywhere, and letters handed out one by one in the order typed, because some commands act on a letter
//! as soon as they see it. Long options (`--why`) are ours; the originals had none.
//!
//! Used by every command; decides nothing about what a letter means.

use std::collections::VecDeque;

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

/// A long option.
#[derive(Debug, Clone, Copy)]
pub struct LongOption {
    pub name: &'static str,
    pub takes_value: bool,
}

/// Reads arguments one by one.
#[derive(Debug)]
pub struct Getopt {
    letters: &'static str,
    long: &'static [LongOption],
    arguments: VecDeque<String>,
    /// The rest of a bundle of letters.
    bundle: VecDeque<char>,
    operands: Vec<String>,
}

impl Getopt {
    /// `letters` as for getopt(3): a letter that takes an argument is followed by a colon.
    pub fn new(letters: &'static str, arguments: impl IntoIterator<Item = String>) -> Self {
        Self {
            letters,
            long: &[],
            arguments: arguments.into_iter().collect(),
            bundle: VecDeque::new(),
            operands: Vec::new(),
        }
    }

    /// Also knows these long options.
    pub fn with_long(mut self, long: &'static [LongOption]) -> Self {
        self.long = long;
        self
    }

    /// The arguments that are no options, once all options are read.
    pub fn into_operands(self) -> Vec<String> {
        self.operands
    }

    fn long_option(&mut self, text: &str) -> Item {
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let Some(option) = self.long.iter().find(|option| option.name == name) else {
            return Item::Unknown(format!("unrecognized option '--{name}'"));
        };
        if !option.takes_value {
            return match attached {
                Some(_) => Item::Unknown(format!("option '--{name}' doesn't allow an argument")),
                None => Item::Long(option.name, None),
            };
        }
        match attached.or_else(|| self.arguments.pop_front()) {
            Some(value) => Item::Long(option.name, Some(value)),
            None => Item::Unknown(format!("option '--{name}' requires an argument")),
        }
    }

    fn letter(&mut self, letter: char) -> Item {
        let place = if letter == ':' { None } else { self.letters.find(letter) };
        let Some(place) = place else {
            return Item::Unknown(format!("invalid option -- '{letter}'"));
        };
        if !self.letters[place + letter.len_utf8()..].starts_with(':') {
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

    const LETTERS: &str = "fIls:m:xh?";

    fn read(arguments: &[&str]) -> (Vec<Item>, Vec<String>) {
        let mut options = Getopt::new(LETTERS, arguments.iter().map(|text| (*text).to_owned())).with_long(&[
            LongOption { name: "why", takes_value: true },
            LongOption { name: "plan", takes_value: false },
        ]);
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
}
