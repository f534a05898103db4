//! The catalogue is complete: every text of a template or a view is in it, in all languages, and nothing else is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use luci::language::{Language, catalogue};

use crate::sources::{files, literals, root};

/// Rooms whose texts a person reads on a page.
const SPOKEN: &[&str] = &["luci/src/views", "luci/src/http", "luci/src/app", "luci/src/tasks", "luci/src/watcher"];
/// Rooms whose finished sentences are recognised when a page shows them.
const HEARD: &[&str] = &["luci/src", "shared/src", "engine/src", "ricci/src"];

/// The texts that templates say: `{{ "Nodes"|say }}`.
fn said_in_templates() -> Vec<(PathBuf, String)> {
    let mut said = Vec::new();
    for path in files("templates", "html") {
        let text = fs::read_to_string(&path).expect("a readable file");
        let mut rest = text.as_str();
        while let Some(end) = rest.find("\"|say") {
            let begin = start_of_literal(&rest[..end]);
            said.push((path.clone(), rest[begin..end].replace("\\\"", "\"")));
            rest = &rest[end + 5..];
        }
    }
    said
}

fn start_of_literal(text: &str) -> usize {
    let mut end = text.len();
    loop {
        let quote = text[..end].rfind('"').expect("a literal has a beginning");
        if !text[..quote].ends_with('\\') {
            return quote + 1;
        }
        end = quote;
    }
}

fn known(english: &str) -> bool {
    catalogue().text(english, Language::Simplified).is_some()
}

#[test]
fn every_text_of_the_templates_is_in_the_catalogue() {
    let missing: BTreeSet<String> = said_in_templates()
        .into_iter()
        .filter(|(_, text)| !known(text))
        .map(|(path, text)| format!("{}: \"{text}\"", path.display()))
        .collect();
    assert!(missing.is_empty(), "add these to locales/*.toml:\n{}", Vec::from_iter(missing).join("\n"));
}

/// Words between tags, and attributes that are read aloud or shown, outside of `{{ }}`.
fn bare_words(template: &str) -> Vec<String> {
    let mut text = String::new();
    let mut rest = template;
    // What the template language says is cut out first; inside it, only `"…"|say` could be a text.
    while let Some(begin) = rest.find('{') {
        let close = match rest[begin..].chars().nth(1) {
            Some('{') => "}}",
            Some('%') => "%}",
            Some('#') => "#}",
            _ => {
                text.push_str(&rest[..=begin]);
                rest = &rest[begin + 1..];
                continue;
            }
        };
        text.push_str(&rest[..begin]);
        let end = rest[begin..].find(close).expect("closed") + begin + close.len();
        rest = &rest[end..];
    }
    text.push_str(rest);
    let mut found = Vec::new();
    for piece in text.split('<') {
        let (tag, after) = piece.split_once('>').unwrap_or(("", piece));
        found.push(after.trim().to_owned());
        for name in ["title", "aria-label", "placeholder", "data-label", "alt"] {
            if let Some((_, value)) = tag.split_once(&format!(" {name}=\"")) {
                found.push(value.split('"').next().unwrap_or_default().to_owned());
            }
        }
    }
    found.retain(|text| text.chars().filter(|letter| letter.is_alphabetic()).count() > 1);
    found
}

#[test]
fn no_template_has_a_text_outside_of_the_catalogue() {
    // Names, not words: they are the same in every language.
    let names = [
        "luci",
        "· luci",
        "fence_…",
        "vm",
        "Ricci",
        "CSV",
        "JSON",
        "cluster.conf",
        "/usr/bin/ping -c1 -w1 192.0.2.254",
    ];
    let mut bare = Vec::new();
    for path in files("templates", "html") {
        for text in bare_words(&fs::read_to_string(&path).expect("a readable file")) {
            if !names.contains(&text.as_str()) {
                bare.push(format!("{}: {text}", path.display()));
            }
        }
    }
    assert!(bare.is_empty(), "write these as {{{{ \"…\"|say }}}}:\n{}", bare.join("\n"));
}

#[test]
fn the_search_for_bare_words_finds_them() {
    let template = r#"<p title="Aloud">{{ "fine"|say }} Bare <b>{% if x %}words{% endif %}</b><a aria-label="{{ y|say }}">–</a></p>"#;
    assert_eq!(bare_words(template), ["Bare", "Aloud", "words"]);
}

#[test]
fn every_sentence_of_views_and_handlers_is_in_the_catalogue() {
    let mut missing = BTreeSet::new();
    for room in SPOKEN {
        for path in files(room, "rs").into_iter().filter(|path| !path.to_string_lossy().contains("/http/api")) {
            for text in literals(&fs::read_to_string(&path).expect("a readable file")) {
                if is_sentence(&text) && !known(&text) && !NOT_SHOWN.contains(&text.as_str()) {
                    missing.insert(format!(
                        "{}: \"{text}\"",
                        path.strip_prefix(root()).expect("a file of the tree").display()
                    ));
                }
            }
        }
    }
    assert!(missing.is_empty(), "add these to locales/*.toml:\n{}", Vec::from_iter(missing).join("\n"));
}

/// Sources of `shared` whose sentences are findings, texts or hints.
const FOUND: &[&str] = &[
    "/conf/check/",
    "/conf/parse.rs",
    "/conf/xml.rs",
    "/conf/view.rs",
    "/conf/mod.rs",
    "/conf/judge.rs",
    "/conf/edit.rs",
    "/agents/differences.rs",
    "/agents/kinds.rs",
    "/agents/mapping.rs",
];

/// A hint may end in a suggestion (`; did you mean x?`), which is a sentence of its own in the catalogue.
fn without_suggestion(text: &str) -> &str {
    let text = text.strip_prefix("; ").unwrap_or(text);
    match text.strip_suffix("{}") {
        Some(hint) if !hint.ends_with(' ') => hint,
        _ => text,
    }
}

#[test]
fn every_sentence_of_findings_is_in_the_catalogue() {
    let mut missing = BTreeSet::new();
    let sources = files("shared/src", "rs");
    let told = |path: &Path| FOUND.iter().any(|found| path.to_string_lossy().contains(found));
    for path in sources.into_iter().filter(|path| told(path)) {
        for text in literals(&fs::read_to_string(&path).expect("a readable file")) {
            // Options of virsh.
            if text.starts_with("--") {
                continue;
            }
            let prefix_of_others = text == "syntax error: " || text == "ill-formed document: ";
            let arguments = text.starts_with("--");
            if is_sentence(&text)
                && !prefix_of_others
                && !arguments
                && !known(&text)
                && !known(without_suggestion(&text))
            {
                missing.insert(format!("{}: \"{text}\"", path.display()));
            }
        }
    }
    assert!(missing.is_empty(), "add these to locales/findings.toml:\n{}", Vec::from_iter(missing).join("\n"));
}

#[test]
fn findings_are_translated_as_checking_makes_them() {
    let conf = |inside: &str| format!("<cluster name='a' config_version='1'>{inside}</cluster>");
    let node =
        "<clusternode name='n1' nodeid='1'><fence><method name='m'><device name='apd'/></method></fence></clusternode>";
    let devices = "<fencedevices><fencedevice name='apc' agent='fence_apc' passwd='x' passwd_script='y'/>\
        <fencedevice name='apc' agent='fence_apc' passwd='z'/><fencedevice agent='fence_apc'/></fencedevices>";
    let rm = "<rm><failoverdomains><failoverdomain name='d\"' restricted='1'/></failoverdomains><service name='s' \
        domain='e' depend='service:t' recovery='never'><ip ref='10.0.0.1'/><fss/></service><vm name='s'/></rm>";
    let texts = [
        conf(&format!("<quorumd/><clusternodes>{node}</clusternodes>{devices}{rm}")),
        conf("<cman two_node='1'/><cman/><rm watchdog='x'/>"),
        "<a><b></a>".to_owned(),
        "<a x=1 x='2'/>".to_owned(),
        "x<a/>".to_owned(),
        "<a>&b;</a>".to_owned(),
        "<a><!-- ".to_owned(),
        "</a>".to_owned(),
    ];
    for text in texts {
        let findings = shared::conf::load(&text).findings;
        assert!(!findings.is_empty(), "{text}");
        for sentence in findings.iter().flat_map(|finding| [&finding.text, &finding.hint]) {
            for language in [Language::Simplified, Language::Traditional] {
                let said = catalogue().translate(sentence, language);
                assert!(said.is_some_and(|said| said != *sentence), "{sentence} in {}", language.tag());
            }
        }
    }
}

/// At least two words of letters, which names, keys and addresses are not.
fn is_sentence(text: &str) -> bool {
    let word = |part: &&str| part.chars().filter(|letter| letter.is_alphabetic()).count() > 1 && !part.contains('{');
    let markup = text.contains('<') && text.contains('>')
        || text.contains("='")
        || text.contains("-src ")
        || text.starts_with("SELECT ")
        // Options of a program.
        || text.starts_with("--");
    !markup && text.split(' ').filter(word).count() > 1
}

/// Sentences of luci's code that no page shows as they are.
const NOT_SHOWN: &[&str] = &[
    // Said with what stands before or after it, see COMPOSED.
    " and waits: {}",
    "; waits because {}",
    "; runs on {owner}",
    "{}ricci silent since {}",
    "fencing attempt {}: {step}{method}",
    "cluster a cluster",
    // Of headers and asserts.
    "text/css; charset=utf-8",
    "text/javascript; charset=utf-8",
    "text/csv; charset=utf-8",
    "camera=(), microphone=(), geolocation=()",
    "8 is not 0",
    "10 is not 0",
    "25 is not 0",
    "30 is not 0",
    // The causes of errors; pages say what `http::error` makes of them.
    "logged out",
    "no second factor",
    "wrong form token",
    "no such page",
    "drawing a page",
    "PairSecret(not shown)",
    // Who asked, as the cluster's log has it.
    "{} via luci",
];

#[test]
fn nothing_in_the_catalogue_is_unused() {
    let mut used: BTreeSet<String> = said_in_templates().into_iter().map(|(_, text)| text).collect();
    for room in HEARD {
        for path in files(room, "rs") {
            let texts = literals(&fs::read_to_string(&path).expect("a readable file"));
            if path.to_string_lossy().contains("/conf/check/") {
                used.extend(texts.iter().map(|text| without_suggestion(text).to_owned()));
            }
            used.extend(texts);
        }
    }
    let unused: Vec<String> = catalogue()
        .entries()
        .iter()
        .filter(|entry| !used.contains(&entry.english) && !COMPOSED.contains(&entry.english.as_str()))
        .map(|entry| format!("locales/{}: \"{}\"", entry.file, entry.english))
        .collect();
    assert!(unused.is_empty(), "nobody says these:\n{}", unused.join("\n"));
}

/// Texts that the code puts together of several literals.
const COMPOSED: &[&str] = &[
    // The first half of what is told of a loss names the incident.
    "{name} was lost without a goodbye",
    "{verb} all services: no member has answered yet; luci keeps trying for a minute",
    "{verb} all services: accepted; the page shows how it goes on",
    "{verb} all services: refused. {text}",
    "{verb} all services: {text}",
    "Let leave {}",
    "service {name}: resource {path}: {attribute} {from} → {to}",
    "{} is {}.",
    "{} is {} and waits: {}.",
    "{}; waits because {}",
    "{}; runs on {owner}",
    "{}; runs on {owner} (after {})",
    "ricci silent since {}",
    "{}; ricci silent since {}",
    "fencing attempt {}: {step}",
    "fencing attempt {}: {step}, method {method}",
    "BEST: {}",
    "BETTER: {}",
    "GOOD: {}",
    "ILLEGAL: {}",
    "Creating a cluster",
    "Adding the existing cluster",
    "there is another cluster {name} in line {}",
    "there is another node {name} in line {}",
    "there is another node of this failover domain {name} in line {}",
    "there is another fence device {name} in line {}",
    "there is another fence method {name} in line {}",
    "there is another failover domain {name} in line {}",
    "there is another service {name} in line {}",
    "there is another virtual machine {name} in line {}",
    // Of the XML reader (quick-xml), as it says them.
    "expected {expected}, but {found} was found",
    "close tag {tag} does not match any open tag",
    "start tag not closed: {tag} not found before end of input",
    "tag not closed: `>` not found before end of input",
    "comment not closed: `-->` not found before end of input",
    "processing instruction not closed: `?>` not found before end of input",
    "XML declaration not closed: `?>` not found before end of input",
    "DOCTYPE not closed: `>` not found before end of input",
    "CDATA not closed: `]]>` not found before end of input",
    "attribute value not closed: `'` not found before end of input",
    "attribute value not closed: `\"` not found before end of input",
    "unknown or missed symbol in markup",
    "`<!DOCTYPE>` declaration does not contain a name of a document type",
    "forbidden string `--` was found in a comment",
    "entity or character reference not closed: `;` not found before end of input",
];

#[test]
fn no_text_stands_twice_and_every_place_is_kept() {
    let mut seen = BTreeSet::new();
    for entry in catalogue().entries() {
        assert!(seen.insert(&entry.english), "\"{}\" stands twice", entry.english);
        for (language, text) in [("zh-Hans", &entry.simplified), ("zh-Hant", &entry.traditional)] {
            assert!(!text.trim().is_empty(), "\"{}\" is empty in {language}", entry.english);
            for place in places(text) {
                let given = places(&entry.english);
                assert!(given.contains(&place), "\"{}\": {language} has a place {{{place}}} of its own", entry.english);
            }
        }
    }
}

/// Names of the places, those without a name by their number.
fn places(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else { break };
        let name = name.trim_start_matches('~');
        found.push(if name.is_empty() { (found.len() + 1).to_string() } else { name.to_owned() });
        rest = after;
    }
    found
}

#[test]
fn what_is_sure_to_be_read_is_translated_in_full() {
    // Sentences put together of several texts, as pages show them.
    let sentences = [
        "version 42 in force on 3 of 3",
        "node2 is lost. web is recovering.",
        "relocate asked by anna via luci is still under way",
        "Fence device apc added: version 7 is stored",
        "fencing attempt 2: no quorum, method power",
        "Not done: this needs the role administrator.",
    ];
    for language in [Language::Simplified, Language::Traditional] {
        for sentence in sentences {
            let said = catalogue().translate(sentence, language);
            assert!(said.as_deref().is_some_and(|said| said != sentence), "{sentence} in {}", language.tag());
        }
    }
    assert!(Path::new(root()).join("locales").is_dir());
}
