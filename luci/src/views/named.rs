//! A name that people gave, or a word where there is none.

use std::fmt;

use crate::language;

/// Only the word is translated: a node or a failover domain may be called `lost`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Named {
    /// As it was given.
    Name(String),
    /// A text of the catalogue.
    Word(&'static str),
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Word(word) => f.write_str(&language::plain(word)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::{Language, speak};

    #[tokio::test]
    async fn a_name_that_is_a_word_of_the_catalogue_stays_a_name() {
        let shown = async { (Named::Name("lost".into()).to_string(), Named::Word("lost").to_string()) };
        assert_eq!(speak(Language::Simplified, shown).await, ("lost".to_owned(), "丢失".to_owned()));
    }
}
