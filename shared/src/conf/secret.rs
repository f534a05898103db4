//! Which attributes hold secrets, and how they are kept out of everything that people read.
//!
//! Used by the differences; whoever else shows attributes of fence devices or resources asks here as well.

use std::collections::BTreeSet;

use super::sealed::referred;

/// What stands in place of a secret.
pub const MASK: &str = "(secret)";
const MASK_CHANGED: &str = "(secret, changed)";

/// Names that do not give themselves away by what they contain.
const SECRETS: [&str; 8] = ["community", "pass", "key", "apikey", "api_key", "access_key", "token_value", "psk"];

/// Whether an attribute with this name holds a secret. The file or script that holds or tells one is none, nor is the switch
/// that allows an empty one (`check_passwd_use_empty` of galera).
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let no_value = ["_script", "_file", "_path", "_use_empty"].iter().any(|end| name.ends_with(end));
    !no_value && (name.contains("passw") || name.contains("secret") || SECRETS.contains(&name.as_str()))
}

/// The value, or the mask if the attribute is a secret.
pub fn shown<'v>(name: &str, value: &'v str) -> &'v str {
    // A reference says where a secret lies, which is none itself.
    if is_secret(name) && referred(value).is_none() { MASK } else { value }
}

/// A text of XML with every secret masked, also in comments and in what is not well-formed.
pub fn mask_text(text: &str) -> String {
    mask(text, |_| MASK)
}

/// Both texts masked; a secret of the new one that the old one does not have is marked as changed.
pub(super) fn mask_pair(old: &str, new: &str) -> (String, String) {
    let mut known = BTreeSet::new();
    let masked_old = mask(old, |secret| {
        known.insert(secret.to_owned());
        MASK
    });
    (masked_old, mask(new, |secret| if known.contains(secret) { MASK } else { MASK_CHANGED }))
}

/// Looks at the text, not at the tree, so that nothing is missed where the tree ends.
fn mask(text: &str, mut mask_for: impl FnMut(&str) -> &'static str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(equals) = rest.find('=') {
        let (before, after) = rest.split_at(equals + 1);
        out.push_str(before);
        rest = after;
        let name = before[..equals].trim_end().rsplit(|c: char| !is_name_char(c)).next().unwrap_or_default();
        let value = after.trim_start();
        let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) else { continue };
        if !is_secret(name) {
            continue;
        }
        let start = after.len() - value.len() + 1;
        // A secret that is cut off is still a secret.
        let end = after[start..].find(quote).map_or(after.len(), |length| start + length);
        if referred(&after[start..end]).is_some() {
            continue;
        }
        out.push_str(&after[..start]);
        out.push_str(mask_for(&after[start..end]));
        rest = &after[end..];
    }
    out.push_str(rest);
    out
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_wherever_and_however_they_stand() {
        for (text, expected) in [
            ("<d passwd='x' login=\"root\"/>", "<d passwd='(secret)' login=\"root\"/>"),
            ("<d passwd\n =\n \"a'b\" port='1'/>", "<d passwd\n =\n \"(secret)\" port='1'/>"),
            ("<!-- <d snmp_priv_passwd='x'/> -->", "<!-- <d snmp_priv_passwd='(secret)'/> -->"),
            ("<d passwd_script='/x' key_file='/y' keys='z'/>", "<d passwd_script='/x' key_file='/y' keys='z'/>"),
            ("<ocf check_passwd_use_empty='true'/>", "<ocf check_passwd_use_empty='true'/>"),
            ("<d passwd='cut off", "<d passwd='(secret)"),
            ("<d passwd='secret:bmc1.passwd.1' p='x'/>", "<d passwd='secret:bmc1.passwd.1' p='x'/>"),
            ("<d passwd='secret:not a name'/>", "<d passwd='(secret)'/>"),
            ("<d community='' a='='/>", "<d community='(secret)' a='='/>"),
        ] {
            assert_eq!(mask_text(text), expected);
        }
    }
}
