//! Secrets that stand outside cluster.conf: an attribute holds `secret:NAME`, and each node keeps the value under that name
//! in a file that only root reads (docs/decisions/0006-secrets-outside-the-configuration.md).
//!
//! Pure: finds references and plain secrets in a document and replaces the one by the other. ricci stores the values,
//! rgmanager resolves them just before an agent runs, luci makes the names. A name has one value for ever, so that every older version of
//! the configuration stays usable.

use super::document::{Document, ElementId};
use super::finding::Place;
use super::secret::is_secret;

/// Begins a value that names a secret instead of being one.
pub const PREFIX: &str = "secret:";

/// Longest name. It becomes the name of a file.
pub const NAME_LENGTH_MAX: usize = 100;

/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 4096;

/// The name of the secret that a value refers to; `None` if it is no reference.
pub fn referred(value: &str) -> Option<&str> {
    value.strip_prefix(PREFIX).filter(|name| is_name(name))
}

/// The value that refers to a secret.
pub fn reference(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// Whether this may be the name of a secret: a plain file name.
pub fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (1..=NAME_LENGTH_MAX).contains(&name.len()) && !name.starts_with('.') && name.chars().all(allowed)
}

/// Whether this may be the value of a secret: one line, because agents read one argument per line.
pub fn is_value(value: &str) -> bool {
    !value.is_empty() && value.len() <= VALUE_BYTES_MAX && !value.contains(['\n', '\r', '\0'])
}

/// A place of a document where a secret stands, or a reference to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub element: ElementId,
    pub attribute: String,
    pub value: String,
    pub place: Place,
}

/// Elements whose attributes are handed to agents: only there a reference is resolved.
fn elements(document: &Document) -> Vec<ElementId> {
    let mut found: Vec<ElementId> = Vec::new();
    for path in [
        "/cluster/fencedevices/fencedevice",
        "/cluster/clusternodes/clusternode/fence/method/device",
        "/cluster/clusternodes/clusternode/unfence/device",
    ] {
        found.extend(document.select(path));
    }
    for manager in document.select("/cluster/rm") {
        found.extend(document.descendants(manager).into_iter().filter(|element| *element != manager));
    }
    found
}

fn attributes(document: &Document, wanted: impl Fn(ElementId, &str, &str) -> bool) -> Vec<Found> {
    let mut found = Vec::new();
    for element in elements(document) {
        for (attribute, value) in document.attributes(element) {
            if wanted(element, attribute, value) {
                let place = document.attribute_place(element, attribute);
                found.push(Found { element, attribute: attribute.clone(), value: value.clone(), place });
            }
        }
    }
    found
}

/// Every reference, in the order of the document.
pub fn references(document: &Document) -> Vec<Found> {
    attributes(document, |_, _, value| referred(value).is_some())
}

/// Every secret that stands in the document itself. `also` knows of secrets that their names do not give away.
pub fn plain(document: &Document, also: impl Fn(&Document, ElementId, &str) -> bool) -> Vec<Found> {
    attributes(document, |element, attribute, value| {
        !value.is_empty() && referred(value).is_none() && (is_secret(attribute) || also(document, element, attribute))
    })
}

/// Puts a reference in place of a plain secret.
pub fn replace(document: &mut Document, found: &Found, name: &str) {
    document.set_attribute(found.element, &found.attribute, &reference(name));
}

/// What a new name for the secret begins with, so that a person who looks at the files knows whose it is: `bmc1.passwd`.
pub fn stem(document: &Document, found: &Found) -> String {
    let own = ["name", "ref", "address", "mountpoint"];
    let name = own.iter().find_map(|attribute| document.attribute(found.element, attribute));
    let owner = name.unwrap_or_else(|| document.name(found.element));
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '-' };
    let cut = |text: &str| text.chars().map(plain).take(32).collect::<String>();
    format!("{}.{}", cut(owner).trim_start_matches('.'), cut(&found.attribute))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONF: &str = r#"<cluster name="a" config_version="1"><!-- keep me -->
<fencedevices><fencedevice name="bmc 1" agent="fence_ipmilan" login="root" passwd='hunter2'/></fencedevices>
<clusternodes><clusternode name="n1" nodeid="1"><fence><method name="m"><device name="bmc 1" passwd="secret:n1.x"/></method></fence></clusternode></clusternodes>
<rm><resources><mysql name="db" test_passwd="geheim" token="t"/></resources></rm>
<cman key="not an agent's"/></cluster>"#;

    fn document() -> Document {
        Document::parse(CONF).0
    }

    fn told(found: &[Found]) -> Vec<(&str, &str)> {
        found.iter().map(|found| (found.attribute.as_str(), found.value.as_str())).collect()
    }

    #[test]
    fn plain_secrets_and_references_are_found_where_agents_get_them() {
        let document = document();
        assert_eq!(told(&references(&document)), [("passwd", "secret:n1.x")]);
        assert_eq!(told(&plain(&document, |_, _, _| false)), [("passwd", "hunter2"), ("test_passwd", "geheim")]);
        let also =
            plain(&document, |document, element, attribute| document.name(element) == "mysql" && attribute == "token");
        assert_eq!(told(&also)[2], ("token", "t"));
    }

    #[test]
    fn a_replaced_secret_leaves_everything_else_byte_for_byte() {
        let mut document = document();
        let found = plain(&document, |_, _, _| false).remove(0);
        let name = format!("{}.1f", stem(&document, &found));
        assert_eq!(name, "bmc-1.passwd.1f");
        replace(&mut document, &found, &name);
        assert_eq!(document.print(), CONF.replace("hunter2", "secret:bmc-1.passwd.1f"));
    }

    #[test]
    fn a_name_can_lead_nowhere_else() {
        for name in ["", ".", "..", "../x", "a/b", ".hidden", "a b", "ä", &"x".repeat(101)] {
            assert!(!is_name(name), "{name:?}");
            assert_eq!(referred(&reference(name)), None);
        }
        assert!(is_name("bmc1.passwd.3f9a") && !is_value("two\nlines") && !is_value(""));
    }
}
