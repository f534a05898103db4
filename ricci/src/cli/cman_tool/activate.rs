//! `cman_tool version -r`: the cluster.conf that lies on this node becomes the one of the whole cluster. Checked here
//! first, so that all findings are told at once; rgmanager hands it to all members, and this waits until it is in force.

use std::time::{Duration, Instant};

use shared::conf::judge::only_agents_refuse;
use shared::conf::{Severity, load};
use shared::ids::ConfVersion;
use shared::socket::{Ask, PutConf, Reply};

use super::options::Terms;
use crate::cli::client::{Client, socket_path};

use crate::cli::conf_file::{default_path, news_of, read, render_findings};
use crate::cli::console::complain;

/// All members check and store it.
const STORE_LIMIT: Duration = Duration::from_secs(30);

/// Every member has it on disk by then; the switch is one message.
const SWITCH_LIMIT: Duration = Duration::from_secs(30);

/// Between two looks whether it is in force.
const SWITCH_POLL: Duration = Duration::from_millis(100);

/// Behind a refusal by agents alone.
const OVERRULING: &str = "\n'cman_tool version -r -D warn' makes what the agents say warnings, if you know better";

pub(super) fn activate(terms: Terms) -> Result<(), String> {
    let path = default_path();
    let text = read(&path).map_err(|error| shared::chain(&error))?;
    let loaded = load(&text);
    let asked = ask_in_force();
    // Errors that the version in force has too are older than the rules, and refuse nothing.
    let is_excused = |before: &String| load(&text).accept_after(before).is_ok();
    let version = match &loaded.conf {
        Some(conf) if !loaded.has_errors() || asked.as_ref().is_ok_and(|(_, _, before)| is_excused(before)) => {
            conf.version
        }
        _ => {
            let findings = render_findings(&path.display().to_string(), &loaded.findings, Severity::Error);
            return Err(format!("{} has errors; nothing was changed:\n{}", path.display(), findings.trim_end()));
        }
    };
    let (mut client, in_force, before) = asked?;
    // Whoever changed it with ccs before has had it brought into force already.
    if version == in_force && before == text {
        return Ok(());
    }
    if version <= in_force {
        return Err(format!(
            "version {version} of {} is not higher than version {in_force} that is in force; set config_version to {} or higher",
            path.display(),
            in_force.0.saturating_add(1)
        ));
    }
    let origin = format!("{} with cman_tool", crate::cli::operator());
    let offer = Ask::PutConf { text: text.clone(), origin, despite_agents: terms.despite_agents };
    match ask(&mut client, &offer)? {
        Reply::PutConf { result: PutConf::Accepted { version, findings, .. } } => {
            let news = news_of(&text, &before, &findings);
            let told = render_findings(&path.display().to_string(), &news, Severity::Warning);
            if !told.is_empty() && !terms.is_silent {
                complain(told.trim_end());
            }
            wait_until_in_force(&mut client, version)
        }
        Reply::PutConf { result: PutConf::Refused { findings } } => {
            let what_to_do = if only_agents_refuse(&findings) { OVERRULING } else { "" };
            let told: Vec<String> = findings
                .iter()
                .filter(|finding| finding.severity == Severity::Error)
                .map(|finding| {
                    format!("{}:{}: {}; {}", finding.place.line, finding.place.column, finding.text, finding.hint)
                })
                .collect();
            Err(format!("the cluster refused version {version}; nothing was changed:\n{}{what_to_do}", told.join("\n")))
        }
        _ => Err(unexpected()),
    }
}

fn ask_in_force() -> Result<(Client, ConfVersion, String), String> {
    let mut client = Client::connect(&socket_path(), STORE_LIMIT).map_err(|error| shared::chain(&error))?;
    let (version, text) = in_force(&mut client)?;
    Ok((client, version, text))
}

fn in_force(client: &mut Client) -> Result<(ConfVersion, String), String> {
    match ask(client, &Ask::Conf)? {
        Reply::Conf { version, text, .. } => Ok((version, text)),
        _ => Err(unexpected()),
    }
}

fn wait_until_in_force(client: &mut Client, version: ConfVersion) -> Result<(), String> {
    let begun = Instant::now();
    while begun.elapsed() < SWITCH_LIMIT {
        if in_force(client)?.0 >= version {
            return Ok(());
        }
        std::thread::sleep(SWITCH_POLL);
    }
    Err(format!(
        "all members have stored version {version}, but it is not in force after {} seconds; clustat shows who is missing",
        SWITCH_LIMIT.as_secs()
    ))
}

/// Answers that mean the same whatever was asked become the sentence.
fn ask(client: &mut Client, ask: &Ask) -> Result<Reply, String> {
    match client.ask(ask, STORE_LIMIT) {
        Ok(Reply::PermissionDenied) => Err("Permission denied; try again as root".into()),
        Ok(Reply::Error { text }) => Err(text),
        Ok(reply) => Ok(reply),
        Err(error) => Err(shared::chain(&error)),
    }
}

fn unexpected() -> String {
    "rgmanager answered another question; are both of the same release?".into()
}
