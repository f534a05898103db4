//! Fencing and secrets with the whole suite on true hosts, without a window: the last step of the test ladder with its proof
//! card, and a canary for secrets.

#![expect(clippy::print_stdout, reason = "the counts are what is looked for in the output")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use browser::console::{Console, text_of};
use browser::person::until;
use browser::suite::{RICCI_PASSWORD, Suite};
use lab::canary::{ProcessWatch, Seen, files_with};
use lab::cluster::{ClusterOptions, SERVICE_ADDRESS};
use lab::{BMC_PASSWORD, BMC_USER, Place, bmc_address, host_name, wait_for};
use tokio::sync::Mutex;

/// Each needs most of the machine.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

const USER: &str = "admin";
const PASSWORD: &str = "admin-of-the-story";
const CLUSTER: &str = "story";
/// From an order until the cluster has carried it out, on a busy machine.
const SOON: Duration = Duration::from_secs(120);

/// No machine is back before the others have noticed that it is gone.
const BOOT: Duration = Duration::from_secs(4);

/// A cluster of the first `hosts` hosts that luci made, with nothing in it.
async fn cluster(hosts: usize) -> Result<(Suite, Console)> {
    let suite = Suite::booting_within(hosts, 0, BOOT)?;
    let console = Console::open(&suite.url())?;
    console.set_up(suite.setup_token(), USER, PASSWORD).await?;
    let nodes: Vec<String> = (1..=hosts).map(host_name).collect();
    console.create_cluster(CLUSTER, &nodes, RICCI_PASSWORD).await?;
    Ok((suite, console))
}

/// The whole cluster.conf of these options, imported as text through the page for experts.
async fn import(console: &Console, options: &ClusterOptions) -> Result<()> {
    let named = format!("name=\"{CLUSTER}\"");
    let conf = |text: &str| options.conf(browser::stage::version(text) + 1).replace("name=\"lab\"", &named);
    console.change_conf(CLUSTER, "imported", conf).await
}

/// Waits until a page of luci says something; the page.
async fn page_saying(console: &Console, path: &str, what: &str) -> Result<String> {
    let wish = format!("{path} to say {what:?}");
    let said = until(&wish, SOON, async || {
        let page = console.page(path).await.ok()?;
        page.html.contains(what).then_some(page.html)
    });
    match said.await {
        Ok(html) => Ok(html),
        Err(error) => Err(error.context(text_of(&console.page(path).await?.html))),
    }
}

/// Where it went wrong, for the reader of a failed run.
fn logs(suite: &Suite) -> String {
    let mut text = format!("── luci\n{}", suite.luci_log());
    for host in 1..=suite.lab.hosts() {
        for log in ["rgmanager", "ricci"] {
            let content = suite.lab.get(host, format!("/var/log/cluster/{log}.log")).unwrap_or_default();
            text += &format!("\n── {log} of {}\n{content}", host_name(host));
        }
    }
    text
}

fn other_than(hosts: usize, host: usize) -> usize {
    (1..=hosts).find(|other| *other != host).unwrap_or(1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cycle_of_a_drained_node_proves_its_fence_method_and_fills_the_card() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let (suite, console) = cluster(3).await?;
    import(&console, &ClusterOptions::web(3)).await?;
    page_saying(&console, &format!("/clusters/{CLUSTER}"), "data-state=\"started\"")
        .await
        .with_context(|| logs(&suite))?;
    let proven = climb_to_the_top(&suite, &console).await;
    proven.with_context(|| logs(&suite))?;
    suite.lab.down()
}

/// The node that runs the service is drained, fenced, and comes back; then the card and `fence_check` say so.
async fn climb_to_the_top(suite: &Suite, console: &Console) -> Result<()> {
    let owner = owner_of_web(suite)?;
    let watch = suite.lab.watch_address(SERVICE_ADDRESS.parse()?);
    let (name, before) = (host_name(owner), suite.lab.boot_id(owner)?);
    let ladder = format!("/clusters/{CLUSTER}/nodes/{name}/fence-test");
    let untested = console.page(&ladder).await?.html;
    ensure!(untested.contains("Not run yet."), "{}", text_of(&untested));
    let asked = console.submit(&ladder, &ladder, &[("power", "1"), ("type-name", &name)]).await?;
    console.see_task_through(&asked.path).await?;

    let after = suite.lab.boot_id(owner)?;
    ensure!(after != before, "{name} never lost its power");
    let page = console.page(&ladder).await?.html;
    let card = text_of(page.split("data-test=\"proof-card\"").nth(1).context("there is no card")?);
    for part in [before.as_str(), after.as_str(), "success, method power, run by ", "Membership lost", "Seen again"] {
        ensure!(card.contains(part), "the card lacks {part:?}:\n{card}");
    }
    for missing in ["not seen", "not yet", "none yet"] {
        ensure!(!card.contains(missing), "the card has {missing:?}:\n{card}");
    }
    let rungs = text_of(&page);
    for part in ["status", "wrong plug must fail", "passed", "proven"] {
        ensure!(rungs.contains(part), "the ladder lacks {part:?}:\n{rungs}");
    }
    // The service was moved away first, and the node takes services again: it may have come home.
    let elsewhere = watch.history().iter().any(|span| span.host != owner);
    ensure!(elsewhere, "the service was not moved away: {:?}", watch.history());
    ensure!(watch.overlaps().is_empty(), "two nodes had its address: {:?}", watch.overlaps());
    let told = suite.lab.sh_ok(Place::Host(other_than(3, owner)), "clustat -o json")?;
    ensure!(!told.contains("\"standby\":true"), "{name} was left in standby: {told}");
    let events = suite.lab.events()?;
    ensure!(events.contains("bmc: set power"), "no device switched anything:\n{events}");
    Ok(())
}

/// The host that all members call the owner of the web service.
fn owner_of_web(suite: &Suite) -> Result<usize> {
    wait_for("web to run", SOON, || {
        let said = suite.lab.sh(Place::Host(1), "clustat -o json").ok()?;
        let status: shared::status::ClusterStatus = serde_json::from_str(&said.stdout).ok()?;
        let web = status.services.iter().find(|service| service.name.to_string() == "service:web")?;
        let started = web.state == shared::text::ServiceState::Started;
        let owner = web.owner.as_ref().filter(|_| started)?;
        (1..=suite.lab.hosts()).find(|host| host_name(*host) == owner.as_str())
    })
}

/// Given to a resource agent.
const RESOURCE_CANARY: &str = "canary-7hTq2Z";
/// Given to a fence device by its form; no such device is there.
const FORM_CANARY: &str = "canary-9pXw4M";
const CANARIES: [&str; 3] = [BMC_PASSWORD, RESOURCE_CANARY, FORM_CANARY];

/// Tells what it was given, as agents in trouble do.
const ECHO: &str = r#"#!/bin/sh
case $1 in
meta-data) echo '<?xml version="1.0"?><resource-agent name="echo" version="1"><version>1.1</version><longdesc lang="en">x</longdesc><shortdesc lang="en">x</shortdesc><parameters><parameter name="password"><longdesc lang="en">x</longdesc><shortdesc lang="en">x</shortdesc><content type="string"/></parameter></parameters><actions><action name="start" timeout="20s"/><action name="stop" timeout="20s"/><action name="monitor" timeout="20s" interval="10s"/><action name="validate-all" timeout="20s"/><action name="meta-data" timeout="5s"/></actions></resource-agent>' ;;
start) echo "started with $OCF_RESKEY_password"; touch /run/echo ;;
stop) rm -f /run/echo ;;
monitor) echo "looked with $OCF_RESKEY_password"; [ -e /run/echo ] || exit 7 ;;
validate-all) echo "judged $OCF_RESKEY_password" ;;
esac
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_that_went_through_luci_are_found_only_on_the_nodes() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let watches = CANARIES.map(ProcessWatch::start);
    let (suite, console) = cluster(3).await?;
    for host in 1..=3 {
        suite.lab.put(host, "/usr/lib/ocf/resource.d/test/echo", ECHO, 0o755)?;
    }
    let used = use_secrets(&suite, &console).await;
    used.with_context(|| logs(&suite))?;
    let told = look_at_everything(&suite, &console).await?;
    for canary in CANARIES {
        let leaks = leaks(&suite, canary);
        ensure!(leaks.is_empty(), "{canary} is in {leaks:?}");
        ensure!(
            !files_with(&suite.lab.folder().join("hosts"), canary).is_empty(),
            "{canary} is on no node: nothing was tried"
        );
    }
    for (canary, seen) in CANARIES.into_iter().zip(watches.map(ProcessWatch::finish)) {
        let ours = ["rgmanager", "ricci", "luci", "clustat", "fence_node", "fence_check", "ccs"];
        for seen in &seen {
            let (Seen::Arguments(program) | Seen::Environment(program)) = seen;
            ensure!(!ours.contains(&program.as_str()), "{canary}: a program of ours, {seen:?}");
        }
        // fence_ipmilan calls ipmitool with the password as an argument: its own affair.
        let told = |seen: &Seen| matches!(seen, Seen::Arguments(program) if !program.starts_with("ipmitool") && program != "sh");
        ensure!(!seen.iter().any(told), "{canary} in arguments: {seen:?}");
    }
    ensure!(told > 60, "only {told} pages, answers and outputs were looked at");
    println!(
        "{} secrets: {told} pages, answers of the API and outputs of commands, all files of luci and 3 hosts, all processes",
        CANARIES.len()
    );
    suite.lab.down()
}

/// By import of a whole text, by the form of a device, and by a resource; then a fencing and a start that need them.
async fn use_secrets(suite: &Suite, console: &Console) -> Result<()> {
    let mut options = ClusterOptions::web(3);
    let echo = format!("<ocf provider=\"test\" type=\"echo\" name=\"e\" password=\"{RESOURCE_CANARY}\"/>");
    options.rm = options.rm.replace("    </service>\n", &format!("      {echo}\n    </service>\n"));
    import(console, &options).await?;
    let owner = owner_of_web(suite)?;
    let add = format!("/clusters/{CLUSTER}/add-fence-device");
    let address = bmc_address(1).to_string();
    let fields = [
        ("agent", "fence_ipmilan"),
        ("name", "spare"),
        ("a-ip", address.as_str()),
        ("a-username", BMC_USER),
        ("a-password", FORM_CANARY),
    ];
    console.submit(&format!("{add}?agent=fence_ipmilan"), &add, &fields).await?;
    let name = host_name(owner);
    let ladder = format!("/clusters/{CLUSTER}/nodes/{name}/fence-test");
    let task = console.submit(&ladder, &ladder, &[("power", "1"), ("type-name", &name)]).await?;
    console.see_task_through(&task.path).await?;
    owner_of_web(suite).map(|_| ())
}

/// Every page of the cluster that a link leads to, every answer of the API that tells of it, and what the nodes' commands and logs
/// say; how many there were.
async fn look_at_everything(suite: &Suite, console: &Console) -> Result<usize> {
    let root = format!("/clusters/{CLUSTER}");
    let mut waiting: Vec<String> = ["/", "/audit", "/tasks", &root].map(str::to_owned).to_vec();
    waiting.extend(api_answers());
    let mut seen = BTreeSet::new();
    while let Some(path) = waiting.pop() {
        // A stream has no end; the page that begins with it shows the same.
        if path.contains("/stream") || path.contains("/events/live") || !seen.insert(path.clone()) {
            continue;
        }
        let page = console.page(&path).await.with_context(|| format!("{path} did not come to an end"))?;
        ensure!(page.status < 400, "{path} was answered {}:\n{}", page.status, text_of(&page.html));
        for canary in CANARIES {
            ensure!(!page.html.contains(canary), "{path} shows {canary}");
        }
        for link in page.html.split("href=\"/").skip(1).filter_map(|rest| rest.split('"').next()) {
            let link = link.split('#').next().unwrap_or_default();
            let link = format!("/{}", link.replace("&#38;", "&").replace("&amp;", "&"));
            if link.starts_with(&root) || link.starts_with("/tasks/") {
                waiting.push(link);
            }
        }
    }
    let mut told = seen.len();
    for host in 1..=suite.lab.hosts() {
        for command in COMMANDS {
            let said = suite.lab.sh(Place::Host(host), command)?;
            for canary in CANARIES {
                let shows = said.stdout.contains(canary) || said.stderr.contains(canary);
                ensure!(!shows, "{command} on {} shows {canary}", host_name(host));
            }
            told += 1;
        }
    }
    Ok(told)
}

/// What a host can tell: commands, and what they print.
const COMMANDS: [&str; 8] = [
    "clustat -l",
    "clustat -x",
    "clustat -o json",
    "fence_check -d",
    "ccs --getconf",
    "ccs --lsfencedev",
    "rg_test test /etc/cluster/cluster.conf",
    "cat /var/log/cluster/*.log",
];

/// The API's answers about the cluster, with all versions of its configuration and the differences between them.
fn api_answers() -> Vec<String> {
    let of_cluster = [
        "",
        "/config",
        "/config/versions",
        "/config/versions/1",
        "/config/versions/2",
        "/config/versions/3",
        "/config/diff?from=1&to=2",
        "/config/diff?from=2&to=3",
        "/nodes",
        "/nodes/node1",
        "/nodes/node1/fencing",
        "/services",
        "/services/web",
        "/services/web/why",
        "/events",
        "/requests",
        "/fence-key",
    ];
    let of_cluster = of_cluster.iter().map(|part| format!("/api/v1/clusters/{CLUSTER}{part}"));
    of_cluster.chain(["/api/v1/audit", "/api/v1/tasks"].map(str::to_owned)).collect()
}

/// Files of hosts, devices and luci that hold a secret, without those that must.
fn leaks(suite: &Suite, canary: &str) -> Vec<PathBuf> {
    let must = |path: &Path| {
        let text = path.to_string_lossy();
        // The nodes' secrets, the device itself, and what the test handed to the lab.
        text.contains("/disk/etc/cluster/secrets/") || text.contains("/bmc/") || text.ends_with("/lab.json")
    };
    let mut found: Vec<PathBuf> =
        files_with(suite.lab.folder(), canary).into_iter().filter(|path| !must(path)).collect();
    found.extend(files_with(suite.luci_state(), canary));
    for host in 1..=suite.lab.hosts() {
        let Some(init) = suite.lab.init(host) else { continue };
        for folder in ["run", "tmp"] {
            found.extend(files_with(&PathBuf::from(format!("/proc/{init}/root/{folder}")), canary));
        }
    }
    found
}
