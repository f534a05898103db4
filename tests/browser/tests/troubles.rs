//! What goes wrong around a service: the network of its owner, its fence devices, luci and ricci themselves, and people who send
//! nonsense. Seen in a true browser on true hosts.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use browser::chromium::Script;
use browser::console::text_of;
use browser::person::{SOON, until};
use browser::stage::{CLUSTER, FAILOVER, PASSWORD, SERVICE, Stage, Told, USER, host_of, others, tell};
use browser::suite::RICCI_PASSWORD;
use lab::{BMC_PASSWORD, Cut, Nic, Place, host_name};

/// How long it is watched that nothing starts while a lost node is not fenced: several attempts of the fence agent.
const NOTHING_STARTS: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_cut_from_every_network_is_fenced_before_its_service_answers_elsewhere() -> Result<()> {
    tell(Stage::with_service(|_| ()), async |stage| {
        let row = stage.wait_matrix("web runs", |row| row.state == "started").await?;
        let owner = host_of(&row.owner)?;
        let watch = stage.watch_address();
        watch.wait_holder(owner, SOON)?;
        let client = stage.poll_service()?;
        let booted = stage.suite.lab.boot_id(owner)?;

        let cut = stage.suite.lab.cut(owner, &Nic::ALL, Cut::Silent)?;
        stage.wait_badge(owner, "being fenced").await?;
        stage.browser.pictures("30-network-cut").await?;
        let row =
            stage.wait_matrix("web runs elsewhere", |row| row.state == "started" && row.owner != host_name(owner));
        let new_owner = host_of(&row.await?.owner)?;
        client.wait_page(cut, FAILOVER, |page| page == host_name(new_owner))?;
        for host in others(owner) {
            let told = stage.clustat_x(host)?;
            ensure!(told == Told { state: "started".into(), owner: host_name(new_owner) }, "node{host}: {told:?}");
        }
        until("the cut host to boot anew", FAILOVER, async || {
            stage.suite.lab.boot_id(owner).ok().filter(|boot| *boot != booted)
        })
        .await?;
        stage.browser.go(&format!("[data-test=matrix] [data-test=node-{}] a", host_name(owner))).await?;
        stage.browser.wait_text("fenced by").await?;
        stage.browser.pictures("31-node-fenced").await?;

        stage.suite.lab.mend(owner, &Nic::ALL)?;
        stage.browser.go("[data-test=tab-overview]").await?;
        stage.wait_badge(owner, "Cluster Member").await?;
        let history = watch.finish()?;
        let held: Vec<usize> = history.iter().map(|span| span.host).collect();
        ensure!(held.starts_with(&[owner, new_owner]), "the address was held by {held:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_fencing_fails_nothing_starts_and_the_right_password_lets_it_go_on() -> Result<()> {
    tell(Stage::with_service(|wanted| wanted.fence_password = "not the password".into()), async |stage| {
        let window = &stage.browser;
        let row = stage.wait_matrix("web runs", |row| row.state == "started").await?;
        let owner = host_of(&row.owner)?;
        let name = host_name(owner);
        let watch = stage.watch_address();
        stage.suite.lab.power_off(owner)?;
        stage.wait_badge(owner, "being fenced").await?;
        window.wait_text("Check the fence device and its login").await?;
        window.pictures("32-fencing-fails").await?;

        let elsewhere = until("web elsewhere", NOTHING_STARTS, async || {
            stage.matrix().await.filter(|row| row.state == "started" || row.state == "starting")
        });
        ensure!(elsewhere.await.is_err(), "web was started although {name} is not known to be down");
        ensure!(watch.holders().is_empty(), "the address is held by {:?}", watch.holders());
        let [survivor, _] = others(owner);
        let clustat = stage.clustat(survivor);
        for said in [format!("Fencing of {name}"), "Check the fence device and its login".into(), "service:web".into()]
        {
            ensure!(clustat.contains(&said), "clustat does not say {said:?}:\n{clustat}");
        }
        window.go(&format!("[data-test=matrix] [data-test=node-{name}] a")).await?;
        window.wait("[data-test=fencing-advice]").await?;
        window.pictures("33-node-fencing-fails").await?;

        window.go("[data-test=tab-fence-devices]").await?;
        window.go(&format!("[data-test=fence-device-bmc-{name}] a")).await?;
        window.fill("#a-passwd", BMC_PASSWORD).await?;
        window.go_well("[data-test=submit-fence-device]").await?;
        window.go("[data-test=tab-overview]").await?;
        let row = stage.wait_matrix("web runs elsewhere", |row| row.state == "started" && row.owner != name).await?;
        let told = stage.clustat_x(survivor)?;
        ensure!(told == row, "the matrix says {row:?}, clustat {told:?}");
        stage.wait_badge(owner, "Cluster Member").await?;
        watch.finish()?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_luci_and_ricci_loses_nothing_that_was_accepted() -> Result<()> {
    tell(Stage::empty(3), async |stage| {
        begin_to_create(stage).await?;
        stage.suite.kill_luci()?;
        let window = &stage.browser;
        window.wait_text("Live").await?;
        window.go("[data-test=confirm-pairing]").await?;
        // Passwords are never on luci's disk.
        window.wait("[data-test=retry]").await?;
        window.pictures("34-password-again").await?;
        for place in 0..3 {
            window.fill(&format!("#node-{place}-secret"), RICCI_PASSWORD).await?;
        }
        window.go_well("[data-test=retry]").await?;
        window.wait_text("the cluster's key is there").await?;
        let page = window.wait("body").await?;
        stage.suite.kill_luci()?;
        let window = &stage.browser;
        window.wait_within("[data-test=task-done]", FAILOVER).await?;
        ensure!(page.tag_name().await.is_ok(), "the page was loaded anew");
        window.pictures("35-created-over-a-kill").await?;
        stage.give_service(|_| ()).await?;

        for round in 0..2 {
            let row = stage.wait_matrix("web runs", |row| row.state == "started").await?;
            let [to, _] = others(host_of(&row.owner)?).map(host_name);
            let followed = window.read("[data-test=age]").await?;
            let followed = host_of(followed.rsplit(' ').next().unwrap_or_default())?;
            stage.suite.lab.sh_ok(Place::Host(followed), "kill -9 $(pidof ricci)")?;
            window.go(&format!("[data-test=relocate-on-{to}]")).await?;
            if round == 1 {
                stage.suite.kill_luci()?;
            }
            stage
                .wait_matrix("web runs where it was asked to", |row| row.state == "started" && row.owner == to)
                .await?;
            let asked = "[data-test=requests] tbody tr:first-child .badge";
            until("the request to be done", SOON, async || (window.text_at(asked).await? == "done").then_some(()))
                .await?;
        }
        window.pictures("36-requests-over-kills").await
    })
    .await
}

/// Up to the moment when luci asks whether the fingerprints are right.
async fn begin_to_create(stage: &Stage) -> Result<()> {
    let window = &stage.browser;
    window.visit(&stage.suite.setup_link).await?;
    window.fill("#name", USER).await?;
    window.fill("#password", PASSWORD).await?;
    window.fill("#again", PASSWORD).await?;
    window.go_well("[data-test=setup]").await?;
    window.go("[data-test=create-cluster]").await?;
    window.fill("#name", CLUSTER).await?;
    window.tick("#same-secret", true).await?;
    for (row, host) in (1..=3).enumerate() {
        window.fill(&format!("#node-{row}-name"), &host_name(host)).await?;
    }
    window.fill("#node-0-secret", RICCI_PASSWORD).await?;
    window.go_well("[data-test=submit-create]").await?;
    window.wait("[data-test=confirm-pairing]").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_is_refused_with_a_sentence_and_nothing_is_stored() -> Result<()> {
    tell(Stage::with_service(|_| ()), async |stage| {
        let window = &stage.browser;
        let before = window.read("[data-test=conf-version]").await?;
        for (name, text, said) in [
            ("truncated", "<cluster name=\"story\" config_version=\"9\"><clusternodes><clusternode ", "line 1"),
            ("bomb", BOMB, "entit"),
        ] {
            window.visit(&stage.cluster_url("/configure/text")).await?;
            window.fill("#text", text).await?;
            window.go("[data-test=apply-text]").await?;
            window.wait("[data-test=findings]").await?;
            window.pictures(&format!("40-{name}")).await?;
            let told = window.read("[data-test=findings]").await?;
            let refused = window.read("[data-test=form-error]").await?;
            ensure!(refused.contains("Nothing was written"), "{name}: {refused}");
            ensure!(told.to_lowercase().contains(said), "{name}: no word of {said:?} in: {told}");
        }
        a_name_with_markup(stage).await?;
        a_form_of_nobody(stage).await?;
        window.visit(&stage.cluster_url("")).await?;
        let after = window.read("[data-test=conf-version]").await?;
        ensure!(before == after, "something was stored: {before}, then {after}");
        an_old_form(stage).await
    })
    .await
}

/// A few lines that stand for ten to the ninth.
const BOMB: &str = "<?xml version=\"1.0\"?><!DOCTYPE cluster [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;\">\
                    <!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;\">]><cluster name=\"&c;\" config_version=\"99\"/>";

async fn a_name_with_markup(stage: &Stage) -> Result<()> {
    let window = &stage.browser;
    window.visit(&stage.cluster_url("/add-service")).await?;
    window.fill("#name", "<script>document.title='taken'</script>").await?;
    window.go("[data-test=submit-service]").await?;
    let told = window.wait("[data-test=form-error]").await?.text().await?;
    ensure!(told.contains('<') && told.contains("name"), "{told}");
    ensure!(window.driver.title().await? != "taken", "the script in the name was run");
    window.pictures("41-markup").await
}

/// A form with another token, and one from a stranger's page.
async fn a_form_of_nobody(stage: &Stage) -> Result<()> {
    let console = stage.console()?;
    console.log_in(USER, PASSWORD).await?;
    let fields = [("csrf", "not-the-token"), ("verb", "disable"), ("from", "overview")];
    let page = console.post(&format!("/clusters/{CLUSTER}/services/{SERVICE}/request"), &fields).await?;
    ensure!(page.status == 403, "answered {}", page.status);
    ensure!(text_of(&page.html).contains("nothing was done"), "{}", text_of(&page.html));
    let row = stage.clustat_x(1)?;
    ensure!(row.state == "started", "a form with a wrong token was obeyed: {row:?}");
    Ok(())
}

/// A form that was opened before somebody else changed the configuration.
async fn an_old_form(stage: &Stage) -> Result<()> {
    let window = &stage.browser;
    window.visit(&stage.cluster_url("/configure/network")).await?;
    window.fill("#a-token", "3000").await?;
    let console = stage.console()?;
    console.log_in(USER, PASSWORD).await?;
    let longer = |text: &str| text.replace("token=\"1000\"", "token=\"2000\"");
    console.change_conf(CLUSTER, "the other one was faster", longer).await?;
    window.go("[data-test=apply-totem]").await?;
    let told = window.page_text().await;
    ensure!(told.contains("has changed since this page was made"), "{told}");
    window.pictures("42-old-form").await?;
    window.visit(&stage.cluster_url("/configure/network")).await?;
    let token = window.wait("#a-token").await?.prop("value").await?;
    ensure!(token.as_deref() == Some("2000"), "the old form was stored: {token:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_script_the_matrix_is_right_and_its_buttons_work() -> Result<()> {
    tell(Stage::with_service_and(Script::Off, |_| ()), async |stage| {
        let window = &stage.browser;
        // WebDriver gives no text of what stands there for browsers without script, but it takes room.
        let light = window.wait("[data-test=link-state]").await?;
        ensure!(light.text().await?.is_empty(), "the script runs: {:?}", light.text().await);
        ensure!(light.rect().await?.width > 100.0, "nothing says that the page is not live");
        let row = stage.matrix().await.context("no matrix")?;
        let [to, _] = others(host_of(&row.owner)?).map(host_name);
        window.pictures("50-without-script").await?;
        window.go(&format!("[data-test=relocate-on-{to}]")).await?;
        stage.wait_matrix_anew("web was relocated", |row| row.state == "started" && row.owner == to).await?;
        window.go("[data-test=matrix] [data-test=disable]").await?;
        stage.wait_matrix_anew("web is disabled", |row| row.state == "disabled").await?;
        window.go("[data-test=matrix] [data-test=start]").await?;
        let row = stage.wait_matrix_anew("web runs again", |row| row.state == "started").await?;
        let told = stage.clustat_x(1)?;
        ensure!(told == row, "the matrix says {row:?}, clustat {told:?}");
        Ok(())
    })
    .await
}
