//! Yesterday's backup on another machine gives a console that manages the same clusters.

use crate::fake::{Fake, PASSWORD};
use crate::support::TestApp;
use axum::http::StatusCode;
use luci::backup::{self, StateLock};
use luci::repo::users::Role;
use luci::server;

#[tokio::test]
async fn a_restored_backup_manages_the_same_clusters_and_needs_a_new_login() {
    let fake = Fake::new();
    let node = fake.node("node1").await;
    let luci = TestApp::new().await;
    let mut admin = luci.login("admin", Role::Administrator).await;
    admin.create_cluster([(node.name.as_str(), node.address)], PASSWORD).await;

    // While luci serves.
    let folder = tempfile::tempdir().expect("folder");
    let saved = folder.path().join("monday");
    let names = backup::backup(&luci.state_dir(), &saved).await.expect("backup");
    assert!(names.contains(&"luci.db".to_owned()) && names.contains(&"client.key".to_owned()), "{names:?}");
    let again = backup::backup(&luci.state_dir(), &saved).await.expect_err("into the same folder");
    assert!(again.to_string().contains("is not empty"), "{again}");
    let old_session = admin.clone();
    luci.app.background.stop().await;
    luci.app.repo.close().await;

    let elsewhere = tempfile::tempdir().expect("folder");
    assert_eq!(backup::restore(elsewhere.path(), &saved).await.expect("restored"), None);
    let restored = TestApp::on(elsewhere).await;
    let mut browser = restored.login_again("admin").await;
    // The node believes it: it has the same certificate.
    browser.wait_for("/clusters/alpha", "Quorate").await;
    let page = "/clusters/alpha/add-service";
    let answer = browser.submit(page, page, &[("name", "web"), ("autostart", "on"), ("recovery", "relocate")]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    assert!(fake.change(|world| world.nodes["node1"].conf.clone().expect("conf").contains("name=\"web\"")));
    let mut old = restored.browser_with(&old_session);
    assert_eq!(old.get("/clusters").await.status, StatusCode::SEE_OTHER, "sessions of the old machine are over");
}

#[tokio::test]
async fn a_restore_keeps_what_was_there_and_refuses_a_damaged_backup_or_a_luci_that_serves() {
    let luci = TestApp::new().await;
    luci.login("admin", Role::Administrator).await;
    let folder = tempfile::tempdir().expect("folder");
    let saved = folder.path().join("monday");
    backup::backup(&luci.state_dir(), &saved).await.expect("backup");

    let target = tempfile::tempdir().expect("folder");
    let app = server::open(target.path(), "luci.test").await.expect("another luci");
    app.repo.close().await;
    let lock = StateLock::take(target.path()).expect("free");
    let refused = backup::restore(target.path(), &saved).await.expect_err("it serves");
    assert!(refused.to_string().contains("in use by another luci"), "{refused}");
    drop(lock);
    let aside = backup::restore(target.path(), &saved).await.expect("restored").expect("kept");
    assert!(aside.join("luci.db").exists() && aside.join("client.key").exists());

    std::fs::write(saved.join("client.key"), "other").expect("damage");
    let refused = backup::restore(target.path(), &saved).await.expect_err("damaged");
    assert!(refused.to_string().contains("client.key is damaged"), "{refused}");
    let nothing = tempfile::tempdir().expect("folder");
    let refused = backup::restore(target.path(), nothing.path()).await.expect_err("nothing");
    assert!(refused.to_string().contains("is no backup of luci"), "{refused}");
}
