//! The module `service`: the init scripts of the original, as far as something does their work today. `cman` is corosync,
//! `rgmanager` is itself; the sets of the original that hold them are known by their names.

use std::sync::Arc;

use super::batch::{Arguments, Called, Failed, holder, unknown};
use super::xml::Element;
use crate::agent::app::App;
use crate::agent::conf;
use crate::agent::host::Daemon;

/// Name, what it is today, the set that holds it.
const SERVICES: &[(&str, Daemon, &str)] =
    &[("cman", Daemon::Corosync, "Cluster Base"), ("rgmanager", Daemon::Rgmanager, "Cluster Service Manager")];

pub(super) async fn call(app: &Arc<App>, origin: &str, function: &str, with: &Arguments<'_>) -> Called {
    match function {
        "list" => {
            let all: Vec<_> = SERVICES.iter().collect();
            Ok(vec![holder("services", "list_xml", describe(app, &all).await?)])
        }
        "query" => {
            let wanted = wanted(with, "search")?;
            Ok(vec![holder("result", "list_xml", describe(app, &wanted).await?)])
        }
        "start" | "stop" | "restart" | "enable" | "disable" => {
            let wanted = wanted(with, "services")?;
            tracing::info!(origin, function, "services of this node");
            change(app, function, &wanted).await?;
            Ok(Vec::new())
        }
        _ => Err(unknown("service", function)),
    }
}

type Known = &'static (&'static str, Daemon, &'static str);

/// The services named, in start order.
fn wanted(with: &Arguments<'_>, list: &str) -> Result<Vec<Known>, Failed> {
    let list = with.var(list).ok_or_else(|| Failed::new(format!("the variable '{list}' is missing")))?;
    let mut found = Vec::new();
    for entry in &list.children {
        let name = entry.attribute("name").unwrap_or_default();
        let matches = |known: &&Known| match entry.name.as_str() {
            "service" => known.0 == name || known.1.name() == name,
            "set" => known.2 == name,
            _ => false,
        };
        let all: Vec<Known> = SERVICES.iter().collect();
        match all.iter().find(matches) {
            Some(known) => found.push(*known),
            None => return Err(Failed::new(format!("there is no {} '{name}' on this node", entry.name))),
        }
    }
    found.sort_by_key(|known| known.1 == Daemon::Rgmanager);
    Ok(found)
}

async fn describe(app: &App, services: &[Known]) -> Result<Vec<Element>, Failed> {
    let mut described = Vec::new();
    for (name, daemon, _) in services {
        let state = app.host.state(*daemon).await.map_err(|error| Failed::new(shared::chain(&error)))?;
        described.push(
            Element::new("service")
                .with("name", *name)
                .with("enabled", state.enabled_at_boot.to_string())
                .with("running", state.running.to_string()),
        );
    }
    Ok(described)
}

async fn change(app: &Arc<App>, function: &str, services: &[Known]) -> Result<(), Failed> {
    let told = |error: crate::agent::host::HostError| Failed::new(shared::chain(&error));
    if let "enable" | "disable" = function {
        // Both start at boot, or neither: one without the other is no use.
        return app.host.set_enabled(function == "enable").await.map_err(told);
    }
    if function != "start" {
        for (_, daemon, _) in services.iter().rev() {
            check_may_stop(app, *daemon).await?;
            app.host.stop(*daemon).await.map_err(told)?;
        }
    }
    if function != "stop" {
        let prepared = conf::prepare_start(app).await.map_err(Failed::new)?;
        for (_, daemon, _) in services {
            app.host.start(*daemon).await.map_err(told)?;
            if *daemon == Daemon::Corosync && prepared.has_qdevice {
                app.host.start_qdevice().await.map_err(told)?;
            }
        }
    }
    Ok(())
}

/// A corosync that goes away under rgmanager looks like a crash to the others, who would fence this node.
async fn check_may_stop(app: &App, daemon: Daemon) -> Result<(), Failed> {
    if daemon != Daemon::Corosync {
        return Ok(());
    }
    let rgmanager = app.host.state(Daemon::Rgmanager).await.map_err(|error| Failed::new(shared::chain(&error)))?;
    if rgmanager.running {
        return Err(Failed::new("rgmanager runs on this node; stop it first, so that it gives its services away"));
    }
    Ok(())
}
