//! A service is built in a true browser, as an administrator does it: an address, a file system and a web server on it, at both
//! widths, with and without script. A mistake is shown at its field; the draft is reviewed and applied; the cluster has what
//! was drawn. Pictures of every step are written to `target/screenshots/building`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::fake::Fake;
use crate::stage::{Stage, stage};
use crate::window::{Look, Window};
use thirtyfour::prelude::*;

/// A page that does not come within this time does not come.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the browser is asked whether it is there.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The agents behind the service, by their own words.
const AGENTS: [&str; 3] = ["IPaddr2", "Filesystem", "apache"];

fn told_by(agent: &str) -> String {
    let mut command = Command::new(format!("/usr/lib/ocf/resource.d/heartbeat/{agent}"));
    let output = command.arg("meta-data").env("OCF_ROOT", "/usr/lib/ocf").output().expect("install resource-agents");
    String::from_utf8(output.stdout).expect("text")
}

/// A person at a window.
struct Person {
    window: Window,
    base: String,
    /// Where the pictures of this walk go.
    album: PathBuf,
    pictures: usize,
}

impl Person {
    async fn find(&self, css: &str) -> WebElement {
        let found = self.window.driver.query(By::Css(css)).wait(PATIENCE, LOOK_AGAIN).first().await;
        found.unwrap_or_else(|error| panic!("{css}: {error}"))
    }

    async fn has(&self, css: &str) -> bool {
        self.window.driver.find(By::Css(css)).await.is_ok()
    }

    async fn visit(&self, path: &str) {
        self.window.visit(&format!("{}{path}", self.base)).await;
    }

    async fn fill(&self, id: &str, text: &str) {
        let field = self.find(&format!("[id=\"{id}\"]")).await;
        field.clear().await.expect("a field");
        field.send_keys(text).await.expect("typing");
    }

    /// Clicks and waits for the page that follows.
    async fn go(&self, css: &str) {
        let page = self.find("html").await;
        let button = self.find(css).await;
        button.click().await.unwrap_or_else(|error| panic!("a click on {css}: {error}"));
        let gone = page.wait_until().wait(PATIENCE, LOOK_AGAIN).stale().await;
        gone.unwrap_or_else(|error| panic!("no page follows a click on {css}: {error}"));
        self.find("main").await;
    }

    /// A picture, and whether the page fits the window.
    async fn looks(&mut self, what: &str) {
        self.pictures += 1;
        let name = format!("{:02}-{what}.png", self.pictures);
        self.window.picture(&self.album.join(name)).await;
        let wide = self.window.ask("document.documentElement.scrollWidth - window.innerWidth").await;
        assert!(wide.as_i64().is_some_and(|wide| wide <= 0), "{what} is {wide} pixels too wide");
    }

    async fn text(&self, css: &str) -> String {
        self.find(css).await.text().await.expect("text")
    }

    /// Names of the fields that can be seen.
    async fn fields_seen(&self) -> Vec<String> {
        let seen =
            "[...document.querySelectorAll('.field')].filter((f) => f.checkVisibility()).map((f) => f.dataset.field)";
        let seen = self.window.ask(seen).await;
        seen.as_array().expect("a list").iter().map(|name| name.as_str().expect("a name").to_owned()).collect()
    }
}

/// Opens the form of a type from the page of the service.
async fn choose_kind(person: &mut Person, open: &str, kind: &str) {
    person.go(open).await;
    person.looks("choice").await;
    person.go(&format!("[data-test=kind-{kind}]")).await;
}

/// Adds an address, a file system and, in it, a web server to a service.
async fn build(person: &mut Person, service: &str, walk: usize, script: bool) {
    // No two services may have the same address, mount point or names.
    let address = format!("10.0.0.{walk}/24");
    let (data, site) = (format!("data{walk}"), format!("site{walk}"));
    let page = format!("/clusters/alpha/services/service:{service}");
    let top = "[data-test=tree] .headline [data-test=add-resource]";
    person.visit(&page).await;
    person.looks("empty-tree").await;

    choose_kind(person, top, "ip").await;
    assert_eq!(person.fields_seen().await[0], "address", "what names it comes first");
    person.fill("a-address", &address).await;
    person.looks("address").await;
    person.go("[data-test=submit-resource]").await;
    person.find(&format!("[data-test=\"resource-ip-{address}\"]")).await;

    choose_kind(person, top, "fs").await;
    if script {
        let all = person.fields_seen().await.len();
        person.fill("filter", "mountpoint").await;
        let found = person.fields_seen().await;
        assert!(found.contains(&"mountpoint".to_owned()) && found.len() < all, "{found:?} of {all}");
        person.looks("file-system-filtered").await;
        person.fill("filter", "").await;
        person.find("#filter").await.send_keys(" ").await.expect("typing");
    } else {
        assert!(!person.find("#filter").await.is_displayed().await.expect("a field"), "a filter that does nothing");
    }
    person.fill("a-name", &data).await;
    person.fill("a-mountpoint", &format!("/srv/{data}")).await;
    person.go("[data-test=submit-resource]").await;
    assert_eq!(person.text("[id=\"wrong-a-device\"]").await, "device is required");
    let kept = person.find("#a-mountpoint").await.prop("value").await.expect("value");
    assert_eq!(kept, Some(format!("/srv/{data}")), "what was entered stays");
    person.looks("file-system-refused").await;
    person.fill("a-device", &format!("/dev/vg0/{data}")).await;
    person.go("[data-test=submit-resource]").await;

    choose_kind(person, &format!("[data-test=resource-fs-{data}] [data-test=add-child]"), "apache").await;
    person.fill("a-name", &site).await;
    person.fill("a-config_file", "/etc/apache2/apache2.conf").await;
    person.looks("web-server").await;
    person.go("[data-test=submit-resource]").await;

    person.go(&format!("[data-test=resource-fs-{data}] > .item [data-test=move-up]")).await;
    let nested = person.has(&format!("[data-test=resource-fs-{data}] [data-test=resource-apache-{site}]")).await;
    assert!(nested, "the web server goes with its file system");
    person.looks("tree").await;
    person.go("[data-test=review-draft]").await;
    person.looks("review").await;
    person.go("[data-test=apply-draft]").await;
    person.looks("applied").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_built_of_an_address_a_file_system_and_a_web_server() {
    let fake = Fake::new();
    fake.change(|world| {
        world.resource_agents = AGENTS.map(|agent| (format!("ocf:heartbeat:{agent}"), told_by(agent))).into();
    });
    let mut stage: Stage = stage(fake, &["node1", "node2"]).await;
    stage.browser.wait_for("/clusters/alpha/add-resource", "agent-ocf:heartbeat:apache").await;
    let base = crate::scene::serve(&stage.luci).await;
    let window = Window::open().await;
    let mut person = Person { window, base, album: PathBuf::new(), pictures: 0 };
    person.visit("/login").await;
    person.fill("name", "anna").await;
    person.fill("password", "correct horse").await;
    person.go("[data-test=login]").await;
    let screenshots = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/screenshots/building"));
    for (number, (width, script)) in [(1280, true), (1280, false), (390, true), (390, false)].into_iter().enumerate() {
        let walk = format!("{width}-{}", if script { "script" } else { "plain" });
        let service = format!("web-{walk}");
        stage.add_service(&service).await;
        person.window.look(Look { width, dark: false }).await;
        person.window.allow_script(script).await;
        (person.album, person.pictures) = (screenshots.join(&walk), 0);
        build(&mut person, &service, number + 1, script).await;
        let conf = stage.conf("node2");
        let element = conf.split_once(&format!("name=\"{service}\"")).expect("the service").1;
        let element = element.split_once("</service>").expect("its end").0;
        let places = ["<fs ", "<apache ", "</fs>", "<ip "].map(|part| element.find(part));
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{element}");
        let device = format!("device=\"/dev/vg0/data{}\"", number + 1);
        assert!(element.contains(&device) && element.contains("/24\""), "{element}");
    }
    person.window.driver.quit().await.expect("the window closes");
}
