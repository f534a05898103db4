//! A cluster of fake nodes, created through the console, and the browser of its administrator.

use axum::http::StatusCode;
use luci::repo::users::Role;

use crate::fake::{Fake, PASSWORD};
use crate::support::{Answer, Browser, TestApp};

pub(crate) struct Stage {
    pub(crate) luci: TestApp,
    pub(crate) fake: Fake,
    pub(crate) browser: Browser,
}

/// The cluster `alpha` of these nodes, running.
pub(crate) async fn stage(fake: Fake, names: &[&str]) -> Stage {
    let mut nodes = Vec::new();
    for name in names {
        nodes.push(fake.node(name).await);
    }
    let luci = TestApp::new().await;
    let mut browser = luci.login("anna", Role::Administrator).await;
    browser.create_cluster(nodes.iter().map(|node| (node.name.as_str(), node.address)), PASSWORD).await;
    browser.wait_for("/clusters/alpha", "Quorate").await;
    Stage { luci, fake, browser }
}

impl Stage {
    /// Sends a form that must be taken.
    pub(crate) async fn done(&mut self, page: &str, to: &str, fields: &[(&str, &str)]) -> Answer {
        let answer = self.browser.submit(page, to, fields).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{to}: {}", answer.text());
        answer
    }

    pub(crate) async fn add_service(&mut self, name: &str) {
        let page = "/clusters/alpha/add-service";
        self.done(page, page, &[("name", name), ("autostart", "on"), ("recovery", "relocate")]).await;
    }

    /// Applies the draft.
    pub(crate) async fn apply(&mut self) {
        self.done("/clusters/alpha/draft", "/clusters/alpha/draft/apply", &[]).await;
    }

    /// What a node has.
    pub(crate) fn conf(&self, node: &str) -> String {
        self.fake.change(|world| world.nodes[node].conf.clone().expect("conf"))
    }
}
