//! A service that survives its node: the whole way from luci's one-time link to a failover, in a true browser on true hosts.

use std::time::Duration;

use anyhow::{Result, ensure};
use browser::person::{SOON, until};
use browser::stage::{CLUSTER, FAILOVER, PASSWORD, SERVICE, Stage, Told, USER, tell};
use browser::suite::RICCI_PASSWORD;
use lab::cluster::SERVICE_ADDRESS;
use lab::{Place, host_name};

/// How long it is watched that a service does not go where it must not go.
const STAYS: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_one_time_link_to_a_service_that_survives_its_node() -> Result<()> {
    tell(Stage::empty(3), async |stage| {
        set_the_administrator(stage).await?;
        create_the_cluster(stage).await?;
        shorten_the_token(stage).await?;
        add_fencing(stage).await?;
        add_the_service(stage).await?;
        start_the_service(stage).await?;
        let watch = stage.watch_address();

        lose_the_owner(stage, "nofailback").await?;
        stays_away(stage).await?;

        allow_failback(stage).await?;
        lose_the_owner(stage, "failback").await?;
        goes_home(stage).await?;
        let history = watch.finish()?;
        ensure!(history.iter().any(|span| span.host == 1), "node1 never held the address: {history:?}");
        Ok(())
    })
    .await
}

async fn set_the_administrator(stage: &Stage) -> Result<()> {
    let window = &stage.browser;
    window.visit(&stage.suite.setup_link).await?;
    window.pictures("01-first-administrator").await?;
    window.fill("#name", USER).await?;
    window.fill("#password", PASSWORD).await?;
    window.fill("#again", PASSWORD).await?;
    window.go_well("[data-test=setup]").await?;
    window.wait("[data-test=create-cluster]").await?;
    window.pictures("02-manage-clusters").await
}

async fn create_the_cluster(stage: &Stage) -> Result<()> {
    let window = &stage.browser;
    window.go("[data-test=create-cluster]").await?;
    window.fill("#name", CLUSTER).await?;
    window.tick("#same-secret", true).await?;
    for (row, host) in (1..=3).enumerate() {
        window.fill(&format!("#node-{row}-name"), &host_name(host)).await?;
    }
    window.fill("#node-0-secret", RICCI_PASSWORD).await?;
    window.pictures("03-create-cluster").await?;
    window.go_well("[data-test=submit-create]").await?;
    window.wait("[data-test=confirm-pairing]").await?;
    for host in 1..=3 {
        let name = host_name(host);
        let css = format!("[data-test=fingerprint-{name}]");
        let shown = window.read(&css).await?;
        let true_one = stage.suite.lab.sh_ok(Place::Host(host), "ricci fingerprint")?;
        ensure!(!shown.is_empty() && true_one.contains(&shown), "{name}: page {shown}, host {true_one}");
    }
    window.pictures("04-fingerprints").await?;
    window.go_well("[data-test=confirm-pairing]").await?;
    for host in 1..=3 {
        window.wait(&format!("[data-test=task-node-{}]", host_name(host))).await?;
    }
    window.wait_within("[data-test=task-done]", FAILOVER).await?;
    window.pictures("05-created").await?;
    window.go("[data-test=task-cluster]").await?;
    for host in 1..=3 {
        stage.wait_badge(host, "Cluster Member").await?;
    }
    window.pictures("06-no-services-yet").await
}

/// Otherwise each loss would be noticed after ten seconds only.
async fn shorten_the_token(stage: &Stage) -> Result<()> {
    let window = &stage.browser;
    window.go("[data-test=tab-configure]").await?;
    window.go("[data-test=configure-network]").await?;
    window.fill("#a-token", "2000").await?;
    window.pictures("07-configure").await?;
    window.go_well("[data-test=apply-totem]").await
}

async fn add_fencing(stage: &Stage) -> Result<()> {
    let window = &stage.browser;
    for host in 1..=3 {
        stage.fill_fence_device(host).await?;
        if host == 1 {
            window.pictures("08-fence-device").await?;
        }
        window.go_well("[data-test=submit-fence-device]").await?;
    }
    window.pictures("09-fence-devices").await?;
    for host in 1..=3 {
        let name = host_name(host);
        window.go("[data-test=tab-nodes]").await?;
        window.go(&format!("[data-test=node-{name}] [data-test=open-node]")).await?;
        window.fill("#method-name", "power").await?;
        window.choose("#device-new", &format!("bmc{host}")).await?;
        window.go_well("[data-test=add-method]").await?;
        window.wait("[data-test=method-power]").await?;
    }
    window.pictures("10-node").await?;
    window.go("[data-test=tab-overview]").await?;
    ensure!(!window.has("[data-test=unprotected]").await, "a node is still said to be unprotected");
    Ok(())
}

async fn add_the_service(stage: &Stage) -> Result<()> {
    let window = &stage.browser;
    window.go("[data-test=tab-failover-domains]").await?;
    window.go("[data-test=add-domain]").await?;
    window.fill("#name", "prefer-node2").await?;
    window.tick("#ordered", true).await?;
    window.tick("#nofailback", true).await?;
    for (priority, host) in [2, 1, 3].into_iter().enumerate() {
        window.tick(&format!("#node-{}", host_name(host)), true).await?;
        window.fill(&format!("#priority-{}", host_name(host)), &(priority + 1).to_string()).await?;
    }
    window.pictures("11-failover-domain").await?;
    window.go_well("[data-test=submit-domain]").await?;

    for (kind, fields) in [
        ("ip", vec![("address", format!("{SERVICE_ADDRESS}/24"))]),
        (
            "apache",
            vec![
                ("name", "www".to_owned()),
                ("config_file", "/etc/apache2/apache2.conf".to_owned()),
                ("server_root", "/etc/apache2".to_owned()),
            ],
        ),
    ] {
        window.go("[data-test=tab-resources]").await?;
        window.go("[data-test=add-resource]").await?;
        window.go(&format!("[data-test=kind-{kind}]")).await?;
        for (field, value) in fields {
            window.fill(&format!("#a-{field}"), &value).await?;
        }
        window.pictures(&format!("12-resource-{kind}")).await?;
        window.go_well("[data-test=submit-resource]").await?;
    }
    window.pictures("13-resources").await?;

    window.go("[data-test=tab-services]").await?;
    window.go("a[href$=add-service]").await?;
    window.fill("#name", "web").await?;
    window.tick("#autostart", false).await?;
    window.choose("#domain", "prefer-node2").await?;
    window.choose("#recovery", "relocate").await?;
    window.choose("#shared-0", &format!("ip:{SERVICE_ADDRESS}/24")).await?;
    window.pictures("14-create-service").await?;
    window.go_well("[data-test=submit-service]").await?;
    window.go("[data-test=tree] [data-test=add-resource]").await?;
    window.choose("#shared", "apache:www").await?;
    window.pictures("15-add-to-tree").await?;
    window.go_well("[data-test=use-shared]").await?;
    window.wait("[data-test=resource-apache-www]").await?;
    window.pictures("16-service").await?;
    // What changes a tree is collected, looked at, and applied as one version.
    window.go("[data-test=review-draft]").await?;
    window.pictures("16-service-draft").await?;
    window.go_well("[data-test=apply-draft]").await?;
    window.go("[data-test=tab-services]").await?;
    window.go("a[href$='services/service%3Aweb']").await
}

async fn start_the_service(stage: &Stage) -> Result<()> {
    let window = &stage.browser;
    window.go_well("[data-test=start]").await?;
    window.go("[data-test=tab-overview]").await?;
    stage.wait_matrix("web runs on node2", |row| row.state == "started" && row.owner == "node2").await?;
    window.pictures("17-started").await?;
    let client = stage.poll_service()?;
    client.wait_page(std::time::UNIX_EPOCH, SOON, |page| page == "node2")?;
    Ok(())
}

/// Cuts node2, which runs the service, from power while the matrix is open, and looks at everything until the service answers
/// from node1.
async fn lose_the_owner(stage: &Stage, variant: &str) -> Result<()> {
    let window = &stage.browser;
    window.go("[data-test=tab-overview]").await?;
    stage.wait_matrix("web runs on node2", |row| row.state == "started" && row.owner == "node2").await?;
    let page = window.wait("body").await?;
    let client = stage.poll_service()?;
    client.wait_page(std::time::UNIX_EPOCH, SOON, |page| page == "node2")?;

    let cut = stage.suite.lab.power_off(2)?;
    stage.wait_badge(2, "being fenced").await?;
    window.pictures(&format!("18-being-fenced-{variant}")).await?;
    stage.wait_matrix("web runs on node1", |row| row.state == "started" && row.owner == "node1").await?;
    window.pictures(&format!("19-failed-over-{variant}")).await?;
    let answer = client.wait_page(cut, FAILOVER, |page| page == "node1")?;
    ensure!(answer.ok());
    ensure!(page.tag_name().await.is_ok(), "the page was loaded anew, so it did not show the failover by itself");
    Ok(())
}

/// The fence agent turned the power of node2 on again; it comes back, and the domain says that the service stays.
async fn stays_away(stage: &Stage) -> Result<()> {
    let window = &stage.browser;
    back_again(stage).await?;
    let stays =
        until("web to leave node1", STAYS, async || stage.matrix().await.filter(|row| row.owner != "node1")).await;
    ensure!(stays.is_err(), "web left node1 although its domain says nofailback: {stays:?}");
    agree(stage, "node1").await?;
    window.go("[data-test=tab-events]").await?;
    window.pictures("20-events").await?;
    let text = window.page_text().await;
    for said in [
        "node2 was lost without a goodbye",
        "node2 has been fenced by",
        "service:web is now running on node1",
        "node2 joined the cluster",
    ] {
        ensure!(text.contains(said), "the event list does not say {said:?}:\n{text}");
    }
    window.go("[data-test=tab-nodes]").await?;
    window.pictures("21-nodes").await
}

async fn goes_home(stage: &Stage) -> Result<()> {
    back_again(stage).await?;
    stage.wait_matrix("web is home", |row| row.state == "started" && row.owner == "node2").await?;
    stage.browser.pictures("22-home").await?;
    agree(stage, "node2").await
}

async fn back_again(stage: &Stage) -> Result<()> {
    if !stage.suite.lab.is_up(2) {
        stage.suite.lab.power_on(2)?;
    }
    stage.wait_badge(2, "Cluster Member").await
}

/// Page and `clustat -x` of every host say the same.
async fn agree(stage: &Stage, owner: &str) -> Result<()> {
    let wanted = Told { state: "started".to_owned(), owner: owner.to_owned() };
    for host in 1..=3 {
        let told = stage.clustat_x(host)?;
        ensure!(told == wanted, "node{host}: {told:?}");
    }
    stage.wait_matrix("the same as clustat", |row| *row == wanted).await?;
    Ok(())
}

/// Takes nofailback away from the domain and brings the service home by hand.
async fn allow_failback(stage: &Stage) -> Result<()> {
    let window = &stage.browser;
    window.go("[data-test=tab-failover-domains]").await?;
    window.go("[data-test=domain-prefer-node2] a").await?;
    window.tick("#nofailback", false).await?;
    window.go_well("[data-test=submit-domain]").await?;
    window.go("[data-test=tab-services]").await?;
    window.go(&format!("[data-test=\"service-{SERVICE}\"] a")).await?;
    if window.read("[data-test=owner]").await? != "node2" {
        window.choose("#target", "node2").await?;
        window.go_well("[data-test=relocate]").await?;
    }
    window.go("[data-test=tab-overview]").await?;
    stage.wait_matrix("web runs on node2", |row| row.state == "started" && row.owner == "node2").await?;
    ensure!(window.path().await? == format!("/clusters/{CLUSTER}"));
    Ok(())
}
