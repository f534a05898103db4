//! fence_xvm from the console to the virtual machine, in one run: luci has the key made and sent through ricci, the packaged
//! fence_virtd is configured with the text that luci offers and with the key downloaded there, a key that the host does not
//! have is told as such, and a node that loses its power is fenced (heartbeat.md §7). libvirt's built-in test driver has the
//! machines; nothing connects them with the hosts of the lab, so the test cuts the power of the host itself.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use browser::console::{Console, text_of, unescape};
use browser::person::until;
use browser::suite::{RICCI_PASSWORD, Suite};
use lab::{Lab, Place, Running, host_name, wait_for};
use shared::status::{ClusterStatus, FencedHow};

const CLUSTER: &str = "virtual";
const ROOT: &str = "/clusters/virtual";
const DEVICE: &str = "/clusters/virtual/fence-devices/xvm";
/// From an order until the cluster has carried it out, on a busy machine.
const SOON: Duration = Duration::from_secs(120);

/// libvirt's test driver with one running machine per node.
const MACHINES: &str = "<node><domain type='test'><name>vm1</name><uuid>00000000-0000-4000-8000-000000000001</uuid>\
<memory>8192</memory><os><type>hvm</type></os></domain><domain type='test'><name>vm2</name>\
<uuid>00000000-0000-4000-8000-000000000002</uuid><memory>8192</memory><os><type>hvm</type></os></domain></node>";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_fenced_with_the_key_that_luci_sent_and_the_host_that_luci_described() -> Result<()> {
    let suite = Suite::start(2, 0)?;
    let console = Console::open(&suite.url())?;
    console.set_up(suite.setup_token(), "admin", "admin-of-the-story").await?;
    console.create_cluster(CLUSTER, &[host_name(1), host_name(2)], RICCI_PASSWORD).await?;
    let host = VirtualHost { folder: tempfile::tempdir()? };
    let done = from_key_to_fencing(&suite, &console, &host).await;
    done.with_context(|| host.log()).with_context(|| logs(&suite))?;
    suite.lab.down()
}

async fn from_key_to_fencing(suite: &Suite, console: &Console, host: &VirtualHost) -> Result<()> {
    for node in [1, 2] {
        suite.lab.sh_ok(Place::Host(node), "ip route replace 224.0.0.0/4 dev eth0")?;
    }
    configure(console).await?;
    console.submit(DEVICE, &format!("{ROOT}/fence-key"), &[("device", "xvm")]).await?;
    let first = key_of_all(suite, console).await?;
    let text = host_text(console).await?;
    let daemon = host.start(&suite.lab, &first, &text)?;
    let ask = |command: &str| suite.lab.sh(Place::Host(1), command);
    wait_for("fence_virtd to answer", SOON, || ask("fence_xvm -o list -t 2").ok().filter(lab::Finished::ok))?;
    let rungs = climb(console).await?;
    // fence_virtd calls a machine "off" that it does not have: luci says that this rung proves nothing.
    ensure!(rungs.contains("passed") && rungs.contains("proves nothing") && rungs.contains("vm2"), "{rungs}");

    // Another key on the nodes, and the host does not know it.
    console.submit(DEVICE, &format!("{ROOT}/fence-key"), &[("device", "xvm"), ("replace", "1")]).await?;
    let second = key_of_all(suite, console).await?;
    ensure!(first != second, "the key was not replaced");
    let strange = climb(console).await.err().context("the host took a key that it does not have")?.to_string();
    ensure!(strange.contains("has another key than the nodes"), "the cause is not told: {strange}");
    ensure!(!ask("fence_xvm -o list -t 2")?.ok(), "the host answered a strange key");
    drop(daemon);
    let _daemon = host.start(&suite.lab, &second, &text)?;
    wait_for("the host to take the new key", SOON, || ask("fence_xvm -o list -t 2").ok().filter(lab::Finished::ok))?;
    ensure!(ask("fence_xvm -o status -H vm2")?.code == 0, "vm2 does not run");

    suite.lab.power_off(2)?;
    wait_for("node2 to be fenced by its method", SOON, || fenced_with(suite, "xvm").then_some(()))?;
    let state = ask("fence_xvm -o status -H vm2")?;
    ensure!(state.code == 2, "vm2 still runs: {state:?}");
    ensure!(ask("fence_xvm -o status -H vm1")?.code == 0, "the wrong machine was switched off");
    for key in [first, second] {
        ensure!(!lies_below(suite.luci_state(), &key[..16])?, "luci kept a key");
    }
    Ok(())
}

/// The device and a method per node, by the forms; `off`, so that a machine that was fenced can be told from one that was not.
async fn configure(console: &Console) -> Result<()> {
    let add = format!("{ROOT}/add-fence-device");
    let fields = [("agent", "fence_xvm"), ("name", "xvm"), ("a-timeout", "5")];
    console.submit(&format!("{add}?agent=fence_xvm"), &add, &fields).await?;
    for (node, plug) in [("node1", "vm1"), ("node2", "vm2")] {
        let page = format!("{ROOT}/nodes/{node}");
        let off = [("attr-0-name", "action"), ("attr-0-value", "off")];
        let fields = [("op", "add-method"), ("name", "xvm"), ("device", "xvm"), ("a-port", plug), off[0], off[1]];
        console.submit(&page, &format!("{page}/fence-methods"), &fields).await?;
        let drawn = text_of(&console.page(&page).await?.html);
        ensure!(drawn.contains(&format!("plug {plug}")), "the agent's own name of it is not used:\n{drawn}");
    }
    Ok(())
}

/// The key, as luci hands it out for the host, after a look at both nodes: they have this one, for root alone, and luci's page
/// says so.
async fn key_of_all(suite: &Suite, console: &Console) -> Result<Vec<u8>> {
    let csrf = console.page(DEVICE).await?.hidden("csrf").context("a form")?;
    let key = console.bytes(&format!("{ROOT}/fence-key/file"), &[("csrf", &csrf)]).await?;
    ensure!(key.len() == 4096, "the key has {} bytes", key.len());
    let mut prints = Vec::new();
    for node in [1, 2] {
        let path = "/etc/cluster/fence_xvm.key";
        let said = suite.lab.sh_ok(Place::Host(node), &format!("stat -c %a {path}; sha256sum <{path}"))?;
        let (mode, print) = said.split_once('\n').context("two lines")?;
        ensure!(mode == "600", "everybody may read the key of node{node}: {mode}");
        let stored = suite.lab.sh_ok(Place::Host(node), &format!("od -An -v -tx1 {path} | tr -d ' \\n'"))?;
        let handed: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        ensure!(stored == handed, "node{node} has another key than luci hands out");
        prints.extend(print.split(' ').next().map(str::to_owned));
    }
    let told = until("the page to tell the key of both nodes", SOON, async || {
        let page = console.page(DEVICE).await.ok()?.html;
        (page.matches(prints.first()?).count() == 2 && !page.contains("keys-differ")).then_some(())
    });
    told.await?;
    Ok(key)
}

/// What the page offers for the host, as a browser shows it.
async fn host_text(console: &Console) -> Result<String> {
    let page = console.page(DEVICE).await?.html;
    let (_, text) = page.split_once("data-test=\"host-text\">").context("the page offers nothing for the host")?;
    let (text, _) = text.split_once("</pre>").context("the text has no end")?;
    Ok(unescape(text))
}

/// The harmless tests of node2's method, from the other node; what the page tells of them.
async fn climb(console: &Console) -> Result<String> {
    let ladder = format!("{ROOT}/nodes/node2/fence-test");
    let task = console.submit(&ladder, &ladder, &[]).await?;
    console.see_task_through(&task.path).await?;
    Ok(text_of(&console.page(&ladder).await?.html))
}

fn fenced_with(suite: &Suite, wanted: &str) -> bool {
    let said = suite.lab.sh(Place::Host(1), "clustat -o json").ok();
    let status: Option<ClusterStatus> = said.and_then(|said| serde_json::from_str(&said.stdout).ok());
    let fenced = status.and_then(|status| status.node(&host_name(2).as_str().into())?.last_fenced.clone());
    fenced.is_some_and(|fenced| matches!(fenced.how, FencedHow::Agent { method, .. } if method == wanted))
}

/// The machine on which the virtual machines run.
struct VirtualHost {
    folder: tempfile::TempDir,
}

impl VirtualHost {
    /// Starts the packaged daemon with what luci's page says and no word of it changed, but for the libvirt that is asked: this
    /// machine has the test driver only. It finds key and file where they belong, for its /etc is its own.
    fn start(&self, lab: &Lab, key: &[u8], text: &str) -> Result<Running> {
        let place = self.folder.path();
        let (commands, conf) =
            text.split_once("# /etc/fence_virt.conf\n").context("the text has no fence_virt.conf")?;
        ensure!(commands.contains("chmod 600 /etc/cluster/fence_xvm.key"), "{commands}");
        ensure!(conf.contains("\"qemu:///system\"") && conf.contains("\"virbr0\""), "{conf}");
        let machines = place.join("machines.xml");
        let conf = conf.replace("qemu:///system", &format!("test://{}", machines.display()));
        fs::create_dir_all(place.join("etc/cluster"))?;
        let files = [("etc/cluster/fence_xvm.key", key), ("etc/fence_virt.conf", conf.as_bytes())];
        for (name, content) in files.into_iter().chain([("machines.xml", MACHINES.as_bytes())]) {
            fs::write(place.join(name), content)?;
            fs::set_permissions(place.join(name), fs::Permissions::from_mode(0o600))?;
        }
        lab.sh_ok(
            Place::Luci,
            "ip route replace 224.0.0.0/4 dev eth0; ip link property add dev eth0 altname virbr0 || true",
        )?;
        let own_etc = format!("mount -t overlay -o ro,lowerdir={}/etc:/etc overlay /etc", place.display());
        let words = ["unshare", "--mount", "sh", "-c", &format!("{own_etc} && exec fence_virtd -F")].map(str::to_owned);
        lab.spawn(Place::Luci, &words, &place.join("log"))
    }

    fn log(&self) -> String {
        format!("── fence_virtd\n{}", fs::read_to_string(self.folder.path().join("log")).unwrap_or_default())
    }
}

fn lies_below(folder: &Path, needle: &[u8]) -> Result<bool> {
    for entry in fs::read_dir(folder)? {
        let bytes = fs::read(entry?.path()).unwrap_or_default();
        if bytes.windows(needle.len()).any(|window| window == needle) {
            return Ok(true);
        }
    }
    Ok(false)
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
