//! What is pushed to a page that is open: what it does not show yet, and no more.

use axum::body::BodyDataStream;
use axum::response::Response;
use futures_util::StreamExt as _;

use crate::fake::Fake;
use crate::stage::{Stage, stage};
use crate::support::PATIENCE;

const HERE: &str = "/clusters/alpha";

/// The stream that a page of the cluster reads; and the same one as a browser opens it that has lost its link.
async fn pushed_to(stage: &mut Stage) -> (String, Pushed) {
    let page = stage.browser.wait_for(HERE, "data-test=\"service-service:mail\"").await;
    let address = page.body.split_once("data-live=\"").expect("a stream").1.split('"').next().expect("quoted");
    let address = address.replace("&amp;", "&").replace("&#38;", "&");
    let answer = stage.browser.stream(&address).await;
    (address, Pushed::new(answer))
}

struct Pushed {
    data: BodyDataStream,
    text: String,
}

impl Pushed {
    fn new(answer: Response) -> Self {
        Self { data: answer.into_body().into_data_stream(), text: String::new() }
    }

    /// Everything until this has been pushed.
    async fn until(&mut self, wish: &str) -> &str {
        let read = async {
            while !self.text.contains(wish) {
                let part = self.data.next().await.expect("the stream goes on").expect("data");
                self.text.push_str(&String::from_utf8_lossy(&part));
            }
        };
        tokio::time::timeout(PATIENCE, read).await.unwrap_or_else(|_| panic!("{wish} is not pushed: {}", self.text));
        &self.text
    }
}

async fn two_services() -> Stage {
    let mut stage = stage(Fake::new(), &["node1", "node2"]).await;
    for service in ["web", "mail"] {
        stage.add_service(service).await;
    }
    stage
}

async fn relocate_web(stage: &mut Stage) {
    let page = stage.browser.wait_for(HERE, "value=\"relocate ").await;
    let to = page.body.split_once("value=\"relocate ").expect("a button").1.split('"').next().expect("quoted");
    let ask = format!("relocate {to}");
    stage.done(HERE, "/clusters/alpha/services/service:web/request", &[("ask", &ask), ("from", "overview")]).await;
}

#[tokio::test]
async fn a_page_is_not_sent_what_it_shows_and_of_a_service_that_moves_only_its_row() {
    let mut stage = two_services().await;
    let (_, mut pushed) = pushed_to(&mut stage).await;
    // The menu comes last of what a page is sent at first.
    pushed.until("panel-side").await;
    relocate_web(&mut stage).await;
    let text = pushed.until("relocate was requested by anna").await;
    assert!(text.contains("\"id\":\"row-service:web\""), "{text}");
    assert!(!text.contains("panel-matrix") && !text.contains("\"id\":\"row-service:mail\""), "{text}");
}

#[tokio::test]
async fn a_browser_that_lost_its_link_is_sent_everything() {
    let mut stage = two_services().await;
    let (address, _) = pushed_to(&mut stage).await;
    let again = stage.browser.stream_after(&address, "1").await;
    let mut pushed = Pushed::new(again);
    let text = pushed.until("panel-side").await;
    assert!(text.contains("panel-matrix") && text.contains("service-service:mail"), "{text}");
}

#[tokio::test]
async fn a_new_service_brings_the_whole_matrix() {
    let mut stage = two_services().await;
    let (_, mut pushed) = pushed_to(&mut stage).await;
    pushed.until("panel-side").await;
    stage.add_service("print").await;
    let text = pushed.until("service-service:print").await;
    assert!(text.contains("\"id\":\"panel-matrix\""), "{text}");
}
