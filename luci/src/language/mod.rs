//! The languages of the pages, and the one catalogue they come from (`locales/*.toml`). Views, templates and handlers ask
//! here for every word a person reads; which language is meant is a property of the request under way (`speak`), so
//! nothing passes it along. Outside of a request everything is said in English: the API, the log, what is stored.
//!
//! Templates say their own texts by the filter `say`. Rust code writes English; its sentences, and those of nodes, of the
//! engine and of the database, are recognised when a template shows them, by the filter `told`. `say!` says a text at once.

mod catalogue;
pub mod filters;
mod html;
mod pattern;

use std::cell::Cell;

use serde::{Deserialize, Serialize};

pub use catalogue::{Catalogue, Entry, catalogue};
pub use html::Html;

/// A language that the catalogue is complete in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type)]
#[sqlx(type_name = "TEXT")]
pub enum Language {
    #[serde(rename = "en")]
    #[sqlx(rename = "en")]
    English,
    /// 简体中文.
    #[serde(rename = "zh-Hans")]
    #[sqlx(rename = "zh-Hans")]
    Simplified,
    /// 繁體中文.
    #[serde(rename = "zh-Hant")]
    #[sqlx(rename = "zh-Hant")]
    Traditional,
}

impl Language {
    /// All, for a choice.
    pub const ALL: [Self; 3] = [Self::English, Self::Simplified, Self::Traditional];

    /// The tag in `lang="…"`, in the database and over the API (BCP 47).
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Simplified => "zh-Hans",
            Self::Traditional => "zh-Hant",
        }
    }

    /// What its readers call it.
    pub fn own_name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Simplified => "简体中文",
            Self::Traditional => "繁體中文",
        }
    }

    /// The language with this tag.
    pub fn parse(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.tag() == tag)
    }

    /// The best of what a browser accepts (`Accept-Language`, RFC 9110 §12.5.4); English if it accepts none of ours.
    pub fn accepted(header: &str) -> Self {
        let mut best = (0.0_f32, Self::English);
        for range in header.split(',') {
            let (tag, weight) = range.split_once(";q=").unwrap_or((range, "1"));
            let weight: f32 = weight.trim().parse().unwrap_or(0.0);
            if let Some(language) = Self::of_range(tag.trim())
                && weight > best.0
            {
                best = (weight, language);
            }
        }
        best.1
    }

    /// Chinese without a script is read by its region: Taiwan, Hong Kong and Macau write traditional characters.
    fn of_range(tag: &str) -> Option<Self> {
        let tag = tag.to_ascii_lowercase();
        let mut parts = tag.split('-');
        match parts.next()? {
            "en" => Some(Self::English),
            "zh" => Some(if parts.any(|part| matches!(part, "hant" | "tw" | "hk" | "mo")) {
                Self::Traditional
            } else {
                Self::Simplified
            }),
            _ => None,
        }
    }
}

tokio::task_local! {
    static SPOKEN: Cell<Language>;
}

/// Runs the work of a request; what it says, it says in this language, until `prefer` names another.
pub async fn speak<W: Future>(language: Language, work: W) -> W::Output {
    SPOKEN.scope(Cell::new(language), work).await
}

/// Sets the language of the request under way, when it has turned out who reads. Outside of a request: nothing.
pub fn prefer(language: Language) {
    let _ = SPOKEN.try_with(|spoken| spoken.set(language));
}

/// The language of the request under way; English outside of one.
pub fn spoken() -> Language {
    SPOKEN.try_with(Cell::get).unwrap_or(Language::English)
}

/// A text of the catalogue in the language of the request, without markup.
pub fn plain(english: &str) -> String {
    catalogue().plain(english, spoken())
}

/// A finished English sentence (of a node, the engine, the database) in the language of the request, without markup;
/// as it is if the catalogue does not know it.
pub fn plain_told(english: &str) -> String {
    catalogue().translate(english, spoken()).unwrap_or_else(|| english.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browser_gets_the_best_language_that_it_accepts() {
        for (header, language) in [
            ("", Language::English),
            ("de-DE,de;q=0.9", Language::English),
            ("de, zh-CN;q=0.8, en;q=0.5", Language::Simplified),
            ("zh-TW,zh;q=0.9,en;q=0.8", Language::Traditional),
            ("zh-Hant-HK", Language::Traditional),
            ("zh", Language::Simplified),
            ("en;q=0.2, zh-MO;q=0.7", Language::Traditional),
            ("zh;q=0", Language::English),
        ] {
            assert_eq!(Language::accepted(header), language, "{header}");
        }
    }

    #[tokio::test]
    async fn a_request_speaks_the_language_of_its_reader_and_the_rest_english() {
        assert_eq!(plain("Nodes"), "Nodes");
        let inside = speak(Language::English, async {
            prefer(Language::Traditional);
            plain("Nodes")
        });
        assert_eq!(inside.await, "節點");
        assert_eq!(spoken(), Language::English);
    }
}
