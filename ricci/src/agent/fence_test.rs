//! Tries a fence device from this node: the agent runs with the given arguments on its standard input, as a fence would,
//! but only for an action that switches nothing. What it prints comes back with the secrets masked.

use std::time::Duration;

use shared::agents::metadata::AgentClass;
use shared::api::{FenceTest, FenceTestAction, FenceTested, ProblemCode};

use super::app::App;
use super::catalogue::mask;
use super::files::off_loop;
use super::problem::ApiError;
use super::process::Run;
use crate::secrets::Resolved;

/// The slowest agents log in to a web page of a switch.
const WAIT: Duration = Duration::from_secs(60);
const ARGUMENTS_MAX: usize = 64;
const VALUE_MAX: usize = 4096;
/// What people can still read on a page.
const OUTPUT_MAX_CHARS: usize = 16 * 1024;

/// Runs the test.
pub(super) async fn run(app: &App, who: &str, test: &FenceTest) -> Result<FenceTested, ApiError> {
    let program = app.catalogue.find(AgentClass::Fence, &test.agent).ok_or_else(|| {
        ApiError::new(ProblemCode::NotFound, format!("there is no fence agent {:?} here", test.agent))
    })?;
    // Checked first: what is wrong with the arguments must not be told of a secret.
    render_arguments(test)?;
    let (secrets, arguments) = (app.secrets.clone(), test.arguments.clone());
    let Resolved { arguments, secrets } = off_loop(move || secrets.resolve(&arguments)).await?;
    let input = render_arguments(&FenceTest { arguments: arguments.clone(), ..test.clone() })?;
    let Ok(_place) = app.fence_tests.try_acquire() else {
        return Err(ApiError::refused("other fence tests are running on this node; try again when they have ended"));
    };
    let run = Run { program: &program, arguments: &[], environment: &[], stdin: input.as_bytes(), wait: WAIT };
    let ended = run.end().await?;
    let output = mask(&format!("{}{}", ended.stdout, ended.stderr), &arguments, &secrets);
    let action = word(test.action);
    tracing::info!(who, agent = test.agent, action, code = ?ended.code, "fence device tested");
    Ok(FenceTested {
        succeeded: ended.code == Some(0),
        code: ended.code,
        output: output.chars().take(OUTPUT_MAX_CHARS).collect(),
        duration_ms: u64::try_from(ended.duration.as_millis()).unwrap_or(u64::MAX),
    })
}

fn word(action: FenceTestAction) -> &'static str {
    match action {
        FenceTestAction::Status => "status",
        FenceTestAction::Monitor => "monitor",
        FenceTestAction::List => "list",
        FenceTestAction::ValidateAll => "validate-all",
    }
}

/// One `name=value` per line. A line break in a value would let it smuggle in another action.
fn render_arguments(test: &FenceTest) -> Result<String, ApiError> {
    if test.arguments.len() > ARGUMENTS_MAX {
        return Err(ApiError::bad_request(format!("a fence agent gets at most {ARGUMENTS_MAX} arguments")));
    }
    let mut input = String::new();
    for (name, value) in &test.arguments {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return Err(ApiError::bad_request(format!("{name:?} cannot be the name of a fence agent's argument")));
        }
        if matches!(name.as_str(), "action" | "option") {
            return Err(ApiError::bad_request("a fence test runs status, monitor or list only; leave `action` out"));
        }
        if value.len() > VALUE_MAX || value.contains(['\n', '\r', '\0']) {
            return Err(ApiError::bad_request(format!("the value of {name} is too long or has a line break in it")));
        }
        input.push_str(&format!("{name}={value}\n"));
    }
    input.push_str(&format!("action={}\n", word(test.action)));
    Ok(input)
}

#[cfg(test)]
mod tests {
    use shared::conf::secret::MASK;

    use super::*;

    fn test(arguments: &[(&str, &str)]) -> FenceTest {
        let arguments = arguments.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        FenceTest { agent: "fence_x".into(), arguments, action: FenceTestAction::Status }
    }

    #[test]
    fn arguments_become_lines_and_the_action_comes_last() {
        assert_eq!(render_arguments(&test(&[("ip", "10.0.0.1")])).unwrap(), "ip=10.0.0.1\naction=status\n");
    }

    #[test]
    fn nothing_but_the_tests_own_action_can_be_smuggled_in() {
        for arguments in
            [[("action", "off")], [("option", "off")], [("ip", "x\naction=off")], [("ip=x\naction", "off")]]
        {
            assert!(render_arguments(&test(&arguments)).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn secrets_do_not_come_back() {
        let arguments = test(&[("passwd", "geheim"), ("snmp_priv_passwd", "geheimnis"), ("login", "admin")]).arguments;
        assert_eq!(mask("admin geheimnis geheim", &arguments, &[]), format!("admin {MASK} {MASK}"));
    }
}
