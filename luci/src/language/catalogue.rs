//! The catalogue: every text in all languages, its key the English text itself. A key may end in ` [context]`, which no
//! reader sees, where one English word has two meanings.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use rust_embed::RustEmbed;

use super::Language;
use super::pattern::Pattern;

#[derive(RustEmbed)]
#[folder = "../locales"]
struct Files;

/// One text.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The file it stands in.
    pub file: String,
    pub english: String,
    pub simplified: String,
    pub traditional: String,
}

impl Entry {
    fn in_language(&self, language: Language) -> &str {
        match language {
            Language::English => without_context(&self.english),
            Language::Simplified => &self.simplified,
            Language::Traditional => &self.traditional,
        }
    }
}

fn without_context(english: &str) -> &str {
    match english.rsplit_once(" [") {
        Some((text, context)) if context.ends_with(']') => text,
        _ => english,
    }
}

/// A value that holds one of these, or ends in a full stop, is no value: the pattern has swallowed more than its own sentence.
const SENTENCE_ENDS: &[&str] = &[". ", "; ", ": ", "\n"];

/// Whether the place stands between quotation marks: what an agent said may be any sentence.
fn is_quoted(text: &str, name: &str) -> bool {
    [('“', '”'), ('「', '」')].iter().any(|(open, close)| text.contains(&format!("{open}{{{name}}}{close}")))
}

/// Where luci's own messages of versions stand; only they are taken for its own.
const MESSAGES: &str = "messages.toml";

/// So many translated sentences are kept; times and names make ever new ones.
const TRANSLATED_MAX: usize = 4096;

/// All texts.
#[derive(Debug)]
pub struct Catalogue {
    entries: Vec<Entry>,
    by_english: HashMap<String, usize>,
    /// Texts with places, the most telling first.
    patterns: Vec<(Pattern, usize)>,
    /// Sentences that were translated: a matrix says the same of hundreds of its cells, and each search goes by all patterns.
    translated: Mutex<HashMap<(Language, String), Option<String>>>,
}

/// The catalogue of this program.
pub fn catalogue() -> &'static Catalogue {
    static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
        let files = Files::iter().map(|name| {
            let file = Files::get(&name).expect("a file that was listed");
            (name.into_owned(), String::from_utf8_lossy(&file.data).into_owned())
        });
        Catalogue::read(files).expect("the tests read the catalogue before it is shipped")
    });
    &CATALOGUE
}

impl Catalogue {
    /// Reads files of lines `"English" = ["简体", "繁體"]`.
    ///
    /// # Errors
    /// What is not such a file.
    pub fn read(files: impl Iterator<Item = (String, String)>) -> Result<Self, toml::de::Error> {
        let mut entries = Vec::new();
        for (file, text) in files {
            let table: std::collections::BTreeMap<String, (String, String)> = toml::from_str(&text)?;
            entries.extend(table.into_iter().map(|(english, (simplified, traditional))| Entry {
                file: file.clone(),
                english,
                simplified,
                traditional,
            }));
        }
        let by_english = entries.iter().enumerate().map(|(place, entry)| (entry.english.clone(), place)).collect();
        let mut patterns: Vec<(Pattern, usize)> = entries
            .iter()
            .enumerate()
            .filter_map(|(place, entry)| Some((Pattern::new(&entry.english)?, place)))
            .collect();
        patterns.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.weight()));
        Ok(Self { entries, by_english, patterns, translated: Mutex::default() })
    }

    /// Every text.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn find(&self, english: &str) -> Option<&Entry> {
        Some(&self.entries[*self.by_english.get(english)?])
    }

    /// The text in a language; `None` if the catalogue does not have it.
    pub fn text(&self, english: &str, language: Language) -> Option<&str> {
        Some(self.find(english)?.in_language(language))
    }

    /// The text without markup; in English if the catalogue does not have it.
    pub fn plain(&self, english: &str, language: Language) -> String {
        let text = self.text(english, language).unwrap_or_else(|| without_context(english));
        text.replace(['`'], "").replace("**", "")
    }

    /// A finished English sentence in a language: found as it is, by the pattern of a text with places, or sentence by
    /// sentence. `None` if any of it is unknown, for half a translation would hide which half is which.
    pub fn translate(&self, english: &str, language: Language) -> Option<String> {
        if language == Language::English || english.trim().is_empty() {
            return Some(english.to_owned());
        }
        let sentence = (language, english.to_owned());
        if let Some(known) = self.translated().get(&sentence) {
            return known.clone();
        }
        let text = self.whole(english, language).or_else(|| self.in_parts(english, language));
        let mut translated = self.translated();
        if translated.len() >= TRANSLATED_MAX {
            translated.clear();
        }
        translated.insert(sentence, text.clone());
        text
    }

    fn translated(&self) -> MutexGuard<'_, HashMap<(Language, String), Option<String>>> {
        self.translated.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn whole(&self, english: &str, language: Language) -> Option<String> {
        if let Some(text) = self.text(english, language) {
            return Some(text.replace('`', "").replace("**", ""));
        }
        self.patterns.iter().find_map(|(pattern, place)| {
            let values = pattern.values(english)?;
            self.fill(self.entries[*place].in_language(language), pattern, &values, language)
        })
    }

    /// The message of a version: a sentence that luci wrote itself in the language, anything else as it was typed, also
    /// when it happens to be a word of the catalogue. A draft's message joins several.
    pub fn message(&self, english: &str, language: Language) -> String {
        let own = || {
            self.own_message(english, language).or_else(|| {
                let parts = english.split("; ").map(|part| self.own_message(part, language));
                Some(parts.collect::<Option<Vec<_>>>()?.join("；"))
            })
        };
        match language {
            Language::English => english.to_owned(),
            _ => own().unwrap_or_else(|| english.to_owned()),
        }
    }

    fn own_message(&self, english: &str, language: Language) -> Option<String> {
        if let Some(entry) = self.find(english) {
            return (entry.file == MESSAGES).then(|| entry.in_language(language).to_owned());
        }
        self.patterns.iter().filter(|(_, place)| self.entries[*place].file == MESSAGES).find_map(|(pattern, place)| {
            let values = pattern.values(english)?;
            // Luci's sentences name one thing at each place; where there are more words, a person wrote them.
            let named = values.iter().all(|value| !value.contains(char::is_whitespace));
            named.then(|| self.fill(self.entries[*place].in_language(language), pattern, &values, language))?
        })
    }

    /// Puts the values in; a place `{~name}` is translated itself and must be known.
    fn fill(&self, text: &str, pattern: &Pattern, values: &[&str], language: Language) -> Option<String> {
        let mut text = text.replace('`', "").replace("**", "");
        for (name, value) in pattern.names().iter().zip(values) {
            let to_translate = format!("{{~{name}}}");
            if text.contains(&to_translate) {
                text = text.replace(&to_translate, &self.value(value, language)?);
            } else if !is_quoted(&text, name)
                && (value.ends_with('.') || SENTENCE_ENDS.iter().any(|end| value.contains(end)))
            {
                return None;
            }
            text = text.replace(&format!("{{{name}}}"), value);
        }
        Some(text)
    }

    /// A value that is a sentence itself, with or without its full stop.
    fn value(&self, english: &str, language: Language) -> Option<String> {
        let bare = english.trim_end_matches('.');
        self.translate(english, language).or_else(|| self.translate(bare, language))
    }

    fn in_parts(&self, english: &str, language: Language) -> Option<String> {
        for (between, joined) in [("\n", "\n"), (". ", ""), ("; ", "；"), (": ", "：")] {
            if !english.contains(between) {
                continue;
            }
            let parts = english.split(between).map(|part| self.part(part, between, language));
            if let Some(parts) = parts.collect::<Option<Vec<_>>>() {
                return Some(parts.join(joined));
            }
        }
        None
    }

    fn part(&self, english: &str, between: &str, language: Language) -> Option<String> {
        let whole: Cow<'_, str> =
            if between == ". " && !english.ends_with('.') { format!("{english}.").into() } else { english.into() };
        self.whole(&whole, language)
            .or_else(|| Some(format!("{}。", self.whole(whole.strip_suffix('.')?, language)?)))
            .or_else(|| if between == ". " { self.in_parts_of(english, language) } else { None })
    }

    /// A sentence that is itself joined of parts.
    fn in_parts_of(&self, english: &str, language: Language) -> Option<String> {
        let bare = english.trim_end_matches('.');
        bare.contains("; ").then(|| self.in_parts(bare, language)).flatten().map(|text| format!("{text}。"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Catalogue {
        let text = r#"
            "Nothing was done." = ["什么也没有做。", "什麼也沒有做。"]
            "{} asked by {}" = ["{2} 请求{~1}", "{2} 請求{~1}"]
            "relocate" = ["迁移", "遷移"]
            "lost {node}" = ["失去 {node}", "失去 {node}"]
            "Name [of a person]" = ["姓名", "姓名"]
        "#;
        Catalogue::read([("a.toml".to_owned(), text.to_owned())].into_iter()).unwrap()
    }

    #[test]
    fn sentences_of_others_are_recognised_by_their_pattern() {
        let catalogue = sample();
        let said = |text| catalogue.translate(text, Language::Simplified);
        assert_eq!(said("lost node1").as_deref(), Some("失去 node1"));
        assert_eq!(said("relocate asked by anna via luci").as_deref(), Some("anna via luci 请求迁移"));
        assert_eq!(said("lost node1. Nothing was done.").as_deref(), Some("失去 node1。什么也没有做。"));
        assert_eq!(said("lost node1; lost node2").as_deref(), Some("失去 node1；失去 node2"));
    }

    #[test]
    fn what_is_known_only_in_part_stays_as_it_was_given() {
        let catalogue = sample();
        assert_eq!(catalogue.translate("shred asked by anna", Language::Simplified), None);
        assert_eq!(catalogue.translate("lost node1; and then some", Language::Simplified), None);
        assert_eq!(catalogue.translate("and then some", Language::English).as_deref(), Some("and then some"));
    }

    #[test]
    fn what_a_person_typed_as_a_message_stays_as_it_was_typed() {
        let message = |text| catalogue().message(text, Language::Simplified);
        for typed in ["restart", "lost", "web: failed", "old cruft deleted", "Nodes", "fence device apc added; lost"] {
            assert_eq!(message(typed), typed);
        }
        assert_eq!(message("fence device apc added"), "已添加隔离设备 apc");
        assert_eq!(message("fence device apc added; edited as text"), "已添加隔离设备 apc；以文本编辑");
        assert_eq!(catalogue().message("edited as text", Language::English), "edited as text");
    }

    #[test]
    fn a_context_is_for_translators_only() {
        assert_eq!(sample().plain("Name [of a person]", Language::English), "Name");
        assert_eq!(sample().plain("Name [of a person]", Language::Traditional), "姓名");
    }
}
