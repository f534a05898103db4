//! `cman_tool version -r`: the cluster.conf that lies on this node becomes the one of the whole cluster. Checked here
//! first, so that all findings are told at once; rgmanager hands it to all members, and this waits until it is in force.

use std::time::{Duration, Instant};

use shared::conf::{Severity, load};
use shared::ids::{ConfDigest, ConfVersion};
use shared::socket::{Ask, PutConf, Reply};

use crate::cli::client::{Client, socket_path};
use crate::cli::conf_file::{default_path, read, render_findings};

/// All members check and store it.
const STORE_LIMIT: Duration = Duration::from_secs(30);

/// Every member has it on disk by then; the switch is one message.
const SWITCH_LIMIT: Duration = Duration::from_secs(30);

/// Between two looks whether it is in force.
const SWITCH_POLL: Duration = Duration::from_millis(100);

pub(super) fn activate() -> Result<(), String> {
    let path = default_path();
    let text = read(&path).map_err(|error| shared::chain(&error))?;
    let loaded = load(&text);
    let version = match &loaded.conf {
        Some(conf) if !loaded.has_errors() => conf.version,
        _ => {
            let findings = render_findings(&path.display().to_string(), &loaded, Severity::Error);
            return Err(format!("{} has errors; nothing was changed:\n{}", path.display(), findings.trim_end()));
        }
    };
    let mut client = Client::connect(&socket_path(), STORE_LIMIT).map_err(|error| shared::chain(&error))?;
    let (in_force, digest) = in_force(&mut client)?;
    // Whoever changed it with ccs before has had it brought into force already.
    if version == in_force && digest == shared::conf::digest(&text) {
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
    match ask(&mut client, &Ask::PutConf { text, origin })? {
        Reply::PutConf { result: PutConf::Accepted { version, .. } } => wait_until_in_force(&mut client, version),
        Reply::PutConf { result: PutConf::Refused { findings } } => {
            let told: Vec<String> = findings
                .iter()
                .map(|finding| {
                    format!("{}:{}: {}; {}", finding.place.line, finding.place.column, finding.text, finding.hint)
                })
                .collect();
            Err(format!("the cluster refused version {version}; nothing was changed:\n{}", told.join("\n")))
        }
        _ => Err(unexpected()),
    }
}

fn in_force(client: &mut Client) -> Result<(ConfVersion, ConfDigest), String> {
    match ask(client, &Ask::Conf)? {
        Reply::Conf { version, digest, .. } => Ok((version, digest)),
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
