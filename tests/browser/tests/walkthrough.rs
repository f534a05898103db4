//! The web steps of an article that an administrator of Red Hat Cluster Suite once wrote about two virtual machines and a web
//! server, followed in our console: docs/walkthrough.md is this test as a text, and its pictures are taken here. The article's
//! `fence_xvm` is IPMI here.

use anyhow::{Result, ensure};
use browser::person::{SOON, until};
use browser::stage::{CLUSTER, FAILOVER, PASSWORD, Stage, Told, USER, tell};
use browser::suite::RICCI_PASSWORD;
use lab::cluster::SERVICE_ADDRESS;
use lab::{Place, host_name};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_steps_of_the_article_give_its_results() -> Result<()> {
    tell(Stage::empty(2), async |stage| {
        two_nodes_join_a_cluster(stage).await?;
        fence_devices_and_methods(stage).await?;
        each_node_fences_the_other(stage).await?;
        a_domain_prefers_the_first_node(stage).await?;
        an_address_and_apache_are_one_service(stage).await?;
        the_service_is_moved_by_command_and_the_page_changes(stage).await?;
        the_active_node_crashes(stage).await
    })
    .await
}

async fn picture(stage: &Stage, name: &str) -> Result<()> {
    stage.browser.pictures(&format!("walkthrough-{name}")).await
}

/// "Nodes → create → add the two nodes"; then `clustat` on both shows them online.
async fn two_nodes_join_a_cluster(stage: &Stage) -> Result<()> {
    let window = &stage.browser;
    window.visit(&stage.suite.setup_link).await?;
    window.fill("#name", USER).await?;
    window.fill("#password", PASSWORD).await?;
    window.fill("#again", PASSWORD).await?;
    window.go_well("[data-test=setup]").await?;
    window.go("[data-test=create-cluster]").await?;
    window.fill("#name", CLUSTER).await?;
    window.tick("#same-secret", true).await?;
    for (row, host) in (1..=2).enumerate() {
        window.fill(&format!("#node-{row}-name"), &host_name(host)).await?;
    }
    window.fill("#node-0-secret", RICCI_PASSWORD).await?;
    picture(stage, "1-create").await?;
    window.go_well("[data-test=submit-create]").await?;
    window.wait("[data-test=confirm-pairing]").await?;
    picture(stage, "2-fingerprints").await?;
    window.go_well("[data-test=confirm-pairing]").await?;
    window.wait_within("[data-test=task-done]", FAILOVER).await?;
    window.go("[data-test=task-cluster]").await?;
    for host in 1..=2 {
        stage.wait_badge(host, "Cluster Member").await?;
        let said = stage.clustat(host);
        ensure!(said.matches("Online").count() == 2, "clustat on node{host}:\n{said}");
    }
    window.go("[data-test=tab-configure]").await?;
    window.go("[data-test=configure-network]").await?;
    window.fill("#a-token", "2000").await?;
    window.go_well("[data-test=apply-totem]").await
}

/// "Fence Devices → add"; "in Nodes, both hosts: add the fence settings, add a fence instance".
async fn fence_devices_and_methods(stage: &Stage) -> Result<()> {
    let window = &stage.browser;
    for host in 1..=2 {
        stage.fill_fence_device(host).await?;
        if host == 1 {
            picture(stage, "3-fence-device").await?;
        }
        window.go_well("[data-test=submit-fence-device]").await?;
    }
    for host in 1..=2 {
        window.go("[data-test=tab-nodes]").await?;
        window.go(&format!("[data-test=node-{}] [data-test=open-node]", host_name(host))).await?;
        window.fill("#method-name", "power").await?;
        window.choose("#device-new", &format!("bmc{host}")).await?;
        window.go_well("[data-test=add-method]").await?;
        window.wait("[data-test=method-power]").await?;
    }
    picture(stage, "4-fence-method").await
}

/// "vm1 # fence_node server32 … success; the other machine then powers off and boots. The same on vm2."
async fn each_node_fences_the_other(stage: &Stage) -> Result<()> {
    let window = &stage.browser;
    window.go("[data-test=tab-overview]").await?;
    for (by, victim) in [(1, 2), (2, 1)] {
        let booted = stage.suite.lab.boot_id(victim)?;
        let name = host_name(victim);
        // The cluster may fence it once more for having been away, until which its power is off for a moment.
        let said = until(&format!("node{by} to have power"), FAILOVER, async || {
            stage.suite.lab.sh(Place::Host(by), &format!("fence_node {name}")).ok()
        })
        .await?;
        let text = format!("{}{}", said.stdout, said.stderr);
        ensure!(text.contains(&format!("fence {name} success")), "fence_node on node{by}: {text}");
        until(&format!("{name} to boot anew"), FAILOVER, async || {
            stage.suite.lab.boot_id(victim).ok().filter(|boot| *boot != booted)
        })
        .await?;
        // The victim's own word: what others say of it may still be of the time before.
        until(&format!("{name} to be back among the members"), FAILOVER, async || {
            let said = stage.suite.lab.sh(Place::Host(victim), "clustat -x").ok()?.stdout;
            (said.contains("groupmember=\"1\"") && said.matches(" rgmanager=\"1\"").count() == 2).then_some(())
        })
        .await?;
        stage.wait_badge(victim, "Cluster Member").await?;
    }
    Ok(())
}

/// Prioritized, restricted, no failback, as in the article.
async fn a_domain_prefers_the_first_node(stage: &Stage) -> Result<()> {
    let window = &stage.browser;
    window.go("[data-test=tab-failover-domains]").await?;
    window.go("[data-test=add-domain]").await?;
    window.fill("#name", "webfail").await?;
    for flag in ["#ordered", "#restricted", "#nofailback"] {
        window.tick(flag, true).await?;
    }
    for host in 1..=2 {
        window.tick(&format!("#node-{}", host_name(host)), true).await?;
        window.fill(&format!("#priority-{}", host_name(host)), &host.to_string()).await?;
    }
    window.go("[data-test=preview-domain]").await?;
    let said = window.read("[data-test=placement]").await?;
    ensure!(said.contains("node1 failed") && said.contains("stays"), "the preview says:\n{said}");
    picture(stage, "5-failover-domain").await?;
    window.go_well("[data-test=submit-domain]").await
}

/// "First the virtual address, … then apache"; "add a service group, put both in".
async fn an_address_and_apache_are_one_service(stage: &Stage) -> Result<()> {
    let window = &stage.browser;
    let apache = [("name", "www"), ("config_file", "/etc/apache2/apache2.conf"), ("server_root", "/etc/apache2")];
    let address = format!("{SERVICE_ADDRESS}/24");
    for (kind, fields) in [("ip", vec![("address", address.as_str())]), ("apache", apache.to_vec())] {
        window.go("[data-test=tab-resources]").await?;
        window.go("[data-test=add-resource]").await?;
        window.go(&format!("[data-test=kind-{kind}]")).await?;
        for (field, value) in fields {
            window.fill(&format!("#a-{field}"), value).await?;
        }
        window.go_well("[data-test=submit-resource]").await?;
    }
    picture(stage, "6-resources").await?;
    window.go("[data-test=tab-services]").await?;
    window.go("a[href$=add-service]").await?;
    window.fill("#name", "web").await?;
    window.choose("#domain", "webfail").await?;
    window.choose("#recovery", "relocate").await?;
    window.choose("#shared-0", &format!("ip:{address}")).await?;
    window.choose("#shared-1", "apache:www").await?;
    picture(stage, "7-service-group").await?;
    window.go_well("[data-test=submit-service]").await?;
    window.go("[data-test=tab-overview]").await?;
    stage.wait_matrix("web runs on node1", |row| row.state == "started" && row.owner == "node1").await?;
    picture(stage, "8-running").await?;
    // "Enter the virtual address in Firefox": each node's page bears its name.
    stage.poll_service()?.wait_page(std::time::UNIX_EPOCH, SOON, |page| page == "node1")?;
    window.go("[data-test=matrix] [data-test=why] a").await?;
    window.wait("[data-test=why-service]").await?;
    picture(stage, "9-why").await
}

/// "clusvcadm -r apache …: the host takes the service over; the page shows another content."
async fn the_service_is_moved_by_command_and_the_page_changes(stage: &Stage) -> Result<()> {
    let client = stage.poll_service()?;
    stage.suite.lab.sh_ok(Place::Host(1), "clusvcadm -r web -m node2")?;
    client.wait_page(std::time::UNIX_EPOCH, FAILOVER, |page| page == "node2")?;
    agree(stage, "node2").await
}

/// "Let the kernel of the active machine crash: the other one takes over, and the service is not interrupted."
async fn the_active_node_crashes(stage: &Stage) -> Result<()> {
    let window = &stage.browser;
    window.go("[data-test=tab-what-if]").await?;
    window.choose("#lost", "node2").await?;
    window.go("[data-test=ask-lost]").await?;
    let foreseen = window.read("[data-test=\"change-service:web\"]").await?;
    ensure!(foreseen.contains("started on node2") && foreseen.contains("on node1"), "foreseen: {foreseen}");
    picture(stage, "10-what-if").await?;
    window.go("[data-test=tab-overview]").await?;
    let client = stage.poll_service()?;
    let cut = stage.suite.lab.power_off(2)?;
    let answer = client.wait_page(cut, FAILOVER, |page| page == "node1")?;
    ensure!(answer.ok());
    stage.wait_matrix("web runs on node1", |row| row.state == "started" && row.owner == "node1").await?;
    picture(stage, "11-taken-over").await?;
    // It fences by a reboot, as fence_xvm did: the crashed node comes back, and with "no failback" nothing moves again.
    if !stage.suite.lab.is_up(2) {
        stage.suite.lab.power_on(2)?;
    }
    stage.wait_badge(2, "Cluster Member").await?;
    agree(stage, "node1").await?;
    window.go("[data-test=tab-events]").await?;
    picture(stage, "12-events").await
}

/// `clustat` says the same on both nodes.
async fn agree(stage: &Stage, owner: &str) -> Result<()> {
    let wanted = Told { state: "started".to_owned(), owner: owner.to_owned() };
    for host in 1..=2 {
        until(&format!("clustat on node{host} to say {wanted:?}"), FAILOVER, async || {
            stage.clustat_x(host).ok().filter(|told| *told == wanted)
        })
        .await?;
    }
    Ok(())
}
