//! Rules for secrets: none is lost by a mask that was taken for a value, and a reference can be resolved.

use super::{Context, Rule};
use crate::conf::sealed::{self, PREFIX, referred};
use crate::conf::secret::{MASK, is_secret};

pub(super) const RULES: &[Rule] = &[check_masks, check_references, check_plain];

/// Whoever saves what a page or command has shown would make the mask the password.
fn check_masks(ctx: &mut Context<'_>) {
    let Some(root) = ctx.document.root() else { return };
    for element in ctx.document.descendants(root) {
        for (name, value) in ctx.document.attributes(element) {
            if is_secret(name) && value.starts_with(MASK.trim_end_matches(')')) {
                let text = format!("{name}=\"{value}\" is what is shown in place of a secret, not the secret");
                let hint = "put the secret itself there, or the reference (secret:NAME) that the current version has";
                ctx.error("secret-masked", ctx.document.attribute_place(element, name), text, hint);
            }
        }
    }
}

fn check_references(ctx: &mut Context<'_>) {
    let Some(root) = ctx.document.root() else { return };
    for element in ctx.document.descendants(root) {
        for (name, value) in ctx.document.attributes(element) {
            if is_secret(name) && value.starts_with(PREFIX) && referred(value).is_none() {
                let text = format!("{name} refers to a secret by a name that cannot be one");
                let hint =
                    "a name has letters, digits, \"-\", \"_\" and \".\", at most 100, and does not begin with \".\"";
                ctx.error("secret-name", ctx.document.attribute_place(element, name), text, hint);
            }
        }
    }
}

/// One finding for all: it is an offer, not a fault.
fn check_plain(ctx: &mut Context<'_>) {
    let plain = sealed::plain(ctx.document, |_, _, _| false);
    let Some(first) = plain.first() else { return };
    let text = match plain.len() {
        1 => "a secret stands in the configuration itself".to_owned(),
        count => format!("{count} secrets stand in the configuration itself"),
    };
    let hint = "it works; luci (Fence Devices) and ccs --movesecrets move them to a file per node that only root reads";
    ctx.info("secret-plain", first.place.clone(), text, hint);
}

#[cfg(test)]
mod tests {
    use crate::conf::load;

    fn rules(passwd: &str) -> Vec<String> {
        let text = format!(
            "<cluster name='a' config_version='1'><clusternodes><clusternode name='n1' nodeid='1'/></clusternodes>\
             <fencedevices><fencedevice name='d' agent='fence_apc' passwd='{passwd}'/></fencedevices></cluster>"
        );
        let findings = load(&text).findings.into_iter();
        findings.map(|finding| finding.rule).filter(|rule| rule.starts_with("secret")).collect()
    }

    #[test]
    fn a_mask_never_becomes_the_password() {
        for (passwd, expected) in [
            ("geheim", "secret-plain"),
            ("(secret)", "secret-masked"),
            ("(secret, changed)", "secret-masked"),
            ("secret:../x", "secret-name"),
        ] {
            assert!(rules(passwd).contains(&expected.to_owned()), "{passwd}: {:?}", rules(passwd));
        }
        assert!(rules("secret:d.passwd.1").is_empty() && rules("").is_empty());
    }
}
