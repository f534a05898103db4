//! Keeps secrets out of what agents print: their output goes to the log, to all members and to the pages.
//!
//! Used by `agents`, `fence` and `judge` on every output before it leaves them. Which parameters are secrets is for
//! `shared::conf::secret` to say.

use shared::conf::secret::{MASK, is_secret};

/// The text without the secrets among the arguments, also where the agent quoted them. `referred`: secrets that stood
/// in files, whatever their arguments are called.
pub(crate) fn mask<'a>(
    text: &str,
    arguments: impl Iterator<Item = (&'a str, &'a str)>,
    referred: &'a [String],
) -> String {
    let named = arguments.filter(|(name, value)| is_secret(name) && !value.is_empty()).map(|(_, value)| value);
    let mut secrets: Vec<String> = named.chain(referred.iter().map(String::as_str)).flat_map(spellings).collect();
    // Longest first, so that a secret that begins with another one leaves no rest.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), MASK))
}

/// How a value may appear in output: bare, quoted for a shell, escaped for Python or JSON, in a URL.
fn spellings(value: &str) -> Vec<String> {
    let url: String = value
        .bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect();
    vec![
        value.to_owned(),
        value.replace('\'', "'\"'\"'"),
        value.replace('\\', "\\\\").replace('\'', "\\'"),
        value.replace('\\', "\\\\").replace('"', "\\\""),
        url,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_however_the_agent_spells_them() {
        let arguments = [("passwd", "it's a \"s3=cr3t\""), ("ip", "10.0.0.1")];
        let text = r#"run -P it's a "s3=cr3t" -a 10.0.0.1; 'it'"'"'s a "s3=cr3t"'; 'it\'s a "s3=cr3t"'; "it's a \"s3=cr3t\""; reached it%27s%20a%20%22s3%3Dcr3t%22"#;
        let masked = mask(text, arguments.into_iter(), &["reached".into()]);
        assert!(!masked.contains("cr3t"), "{masked}");
        assert!(masked.contains("10.0.0.1") && !masked.contains("reached"), "{masked}");
    }
}
