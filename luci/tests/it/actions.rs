//! Every action of every page, by clicks and keys in a true browser, with script and without, in all languages, both themes and
//! two widths: what became of it is read from the fake nodes, their configuration and luci's database, never from the page
//! that was clicked. The pages on the way, and what they say after an action, are translated and fit the window. The list of
//! actions is the table of routes: a form that nobody presses here fails the test.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::fake::{Fake, FakeNode, PASSWORD, World};
use crate::support::{Browser, PATIENCE, TestApp};
use crate::window::{Look, Window};
use axum::http::{Method, StatusCode};
use luci::http::routes;
use luci::language::Language;
use luci::repo::drafts::Draft;
use luci::repo::users::{Role, Theme};
use serde_json::{Value, json};
use shared::conf::load;
use shared::text::ServiceState;

/// Fields of a form: name, value. A check box is ticked by its value; `off` clears it.
type Fields = &'static [(&'static str, &'static str)];

/// How it is judged whether an action did what it says.
enum Check {
    /// cluster.conf of node1 has this, in force on the nodes.
    Conf(&'static str),
    NoConf(&'static str),
    /// The nodes are like this.
    World(fn(&World) -> bool),
    /// Another administrator's session sees this on a page, or does not.
    Seen(&'static str, &'static str),
    Unseen(&'static str, &'static str),
    /// It sees this less often than before.
    Fewer(&'static str, &'static str),
    /// The draft of `admin` is based on the newest version.
    Moved,
    /// How many steps the draft of `admin` has; `None`: there is none.
    Draft(Option<usize>),
    /// `admin` wants such pages.
    Themed(Theme),
    /// This account can log in with this password.
    Login(&'static str, &'static str),
    /// The window is logged in, or is not.
    LoggedIn(bool),
    /// This account has a second factor, or has none.
    Factor(&'static str, bool),
    /// A second factor is demanded from this role on.
    Demanded(Option<Role>),
}

/// One action: the form with this address on this page is filled in and sent by a button.
struct Story {
    route: &'static str,
    page: &'static str,
    /// Address of the form; `*` stands for one part that the test does not know.
    action: &'static str,
    fields: Fields,
    /// Name and value of the button; `None`: the form's first.
    button: Option<(&'static str, &'static str)>,
    /// The form asks once more, by this address and with these fields.
    confirm: Option<(&'static str, Fields)>,
    check: Check,
}

const fn story(route: &'static str, page: &'static str, action: &'static str, fields: Fields, check: Check) -> Story {
    Story { route, page, action, fields, button: None, confirm: None, check }
}

impl Story {
    const fn by(self, name: &'static str, value: &'static str) -> Self {
        Self { button: Some((name, value)), ..self }
    }

    const fn confirmed(self, action: &'static str, fields: Fields) -> Self {
        Self { confirm: Some((action, fields)), ..self }
    }
}

macro_rules! alpha {
    ($rest:literal) => {
        concat!("/clusters/alpha", $rest)
    };
}

macro_rules! of_cluster {
    ($rest:literal) => {
        concat!("/clusters/{cluster}", $rest)
    };
}

fn runs(world: &World, service: &str) -> bool {
    world.services.get(service).is_some_and(|one| one.state == ServiceState::Started)
}

fn accounts() -> Vec<Story> {
    vec![
        story("/login", "/login", "/login", &[("name", "admin"), ("password", "correct horse")], Check::LoggedIn(true)),
        story(
            "/users",
            "/users",
            "/users",
            &[("name", "carol"), ("password", "first horse 1"), ("everywhere", "viewer")],
            Check::Seen("/users", "carol"),
        ),
        story(
            "/users/{name}/roles",
            "/users/carol",
            "/users/carol/roles",
            &[("everywhere", "operator")],
            Check::Seen("/users/carol", "value=\"operator\" selected"),
        ),
        story(
            "/users/{name}/password",
            "/users/carol",
            "/users/carol/password",
            &[("password", "second horse 2")],
            Check::Login("carol", "second horse 2"),
        ),
        story(
            "/users/{name}/sessions/{session}/end",
            "/users/carol",
            "/users/carol/sessions/*/end",
            &[],
            Check::Fewer("/users/carol", "/sessions/"),
        ),
        story(
            "/users/{name}/tokens/{token}/revoke",
            "/users/dave",
            "/users/dave/tokens/*/revoke",
            &[],
            Check::Fewer("/users/dave", "/tokens/"),
        ),
        story("/users/{name}/remove", "/users", "/users/carol/remove", &[], Check::Unseen("/users", "carol")),
        story(
            "/account/preferences",
            "/account",
            "/account/preferences",
            &[("theme", "dark")],
            Check::Themed(Theme::Dark),
        ),
        story(
            "/account/preferences",
            "/account",
            "/account/preferences",
            &[("theme", "auto")],
            Check::Themed(Theme::Auto),
        ),
        story(
            "/account/tokens",
            "/account",
            "/account/tokens",
            &[("token-name", "nightly"), ("token-role", "viewer")],
            Check::Seen("/users/admin", "nightly"),
        ),
        story(
            "/account/tokens/{token}/revoke",
            "/account",
            "/account/tokens/*/revoke",
            &[],
            Check::Fewer("/users/admin", "/tokens/"),
        ),
        story(
            "/account/sessions/{session}/end",
            "/account",
            "/account/sessions/*/end",
            &[],
            Check::Fewer("/users/admin", "/sessions/"),
        ),
    ]
}

/// The end: the window is somebody else afterwards.
fn farewell() -> Vec<Story> {
    vec![
        story("/login", "/login", "/login", &[("name", "admin"), ("password", "correct horse")], Check::LoggedIn(true)),
        story(
            "/account/password",
            "/account",
            "/account/password",
            &[("old", "correct horse"), ("password", "another horse 9")],
            Check::Login("admin", "another horse 9"),
        ),
        story(
            "/login",
            "/login",
            "/login",
            &[("name", "admin"), ("password", "another horse 9")],
            Check::LoggedIn(true),
        ),
        story("/logout", "/clusters", "/logout", &[], Check::LoggedIn(false)),
    ]
}

fn operations() -> Vec<Story> {
    vec![
        story(of_cluster!("/lock"), alpha!(""), alpha!("/lock"), &[], Check::World(|world| world.locked))
            .by("verb", "lock"),
        story(of_cluster!("/lock"), alpha!(""), alpha!("/lock"), &[], Check::World(|world| !world.locked))
            .by("verb", "unlock"),
        story(
            of_cluster!("/services/{service}/request"),
            alpha!("/services/service:db"),
            alpha!("/services/service:db/request"),
            &[],
            Check::World(|world| runs(world, "service:db")),
        )
        .by("verb", "enable"),
        story(
            of_cluster!("/services-request"),
            alpha!("/services"),
            alpha!("/services-request"),
            &[("service", "service:db")],
            Check::World(|world| !runs(world, "service:db")),
        )
        .by("verb", "disable"),
        story(
            of_cluster!("/nodes-order"),
            alpha!("/nodes"),
            alpha!("/nodes-order"),
            &[("node", "node3")],
            Check::World(|world| !world.nodes["node3"].running),
        )
        .by("order", "leave")
        .confirmed(alpha!("/nodes-order"), &[]),
        story(
            of_cluster!("/nodes/{node}/{order}"),
            alpha!("/nodes/node3"),
            alpha!("/nodes/node3/join"),
            &[],
            Check::World(|world| world.nodes["node3"].running),
        ),
        story(
            of_cluster!("/nodes/{node}/{order}"),
            alpha!("/nodes/node3/fence"),
            alpha!("/nodes/node3/fence"),
            &[],
            Check::World(|world| world.fenced.contains_key("node3")),
        ),
        story(
            of_cluster!("/nodes/{node}/fence-test"),
            alpha!("/nodes/node1/fence-test"),
            alpha!("/nodes/node1/fence-test"),
            &[],
            Check::World(|world| !world.fence_tests.is_empty()),
        ),
        story(
            "/clusters-order",
            "/clusters",
            "/clusters-order",
            &[("cluster", "alpha")],
            Check::World(|world| world.nodes.values().all(|node| !node.running)),
        )
        .by("order", "stop")
        .confirmed("/clusters-order", &[]),
        story(
            "/clusters-order",
            "/clusters",
            "/clusters-order",
            &[("cluster", "alpha")],
            Check::World(|world| ["node1", "node2", "node3"].iter().all(|node| world.nodes[*node].running)),
        )
        .by("order", "start"),
    ]
}

fn settings() -> Vec<Story> {
    const QUORUM: (&str, &str, &str) =
        (of_cluster!("/configure/quorum"), alpha!("/configure/quorum"), alpha!("/configure/quorum"));
    const NETWORK: (&str, &str, &str) =
        (of_cluster!("/configure/network"), alpha!("/configure/network"), alpha!("/configure/network"));
    let on = |of: (&'static str, &'static str, &'static str), fields, check| story(of.0, of.1, of.2, fields, check);
    vec![
        on(QUORUM, &[("a-wait_for_all", "1")], Check::Conf("wait_for_all=\"1\"")),
        on(QUORUM, &[("node-2-value", "2")], Check::Conf("votes=\"2\"")),
        on(QUORUM, &[("node-2-value", "1")], Check::NoConf("votes=\"2\"")),
        on(
            QUORUM,
            &[("a-host", "witness"), ("heuristic-0-name", "gw"), ("heuristic-0-program", "/bin/true")],
            Check::Conf("<heuristic name=\"gw\" program=\"/bin/true\"/>"),
        ),
        on(QUORUM, &[], Check::NoConf("qdevice")).by("remove", "1"),
        on(NETWORK, &[("a-token", "5 s")], Check::Conf("token=\"5000\"")),
        on(
            NETWORK,
            &[("node-0-value", "n1-b"), ("node-1-value", "n2-b"), ("node-2-value", "n3-b")],
            Check::Conf("<altname name=\"n3-b\"/>"),
        ),
        on(NETWORK, &[("a-link1-mcastport", "7000")], Check::Conf("<interface ringnumber=\"1\" mcastport=\"7000\"/>")),
        story(
            of_cluster!("/configure/logging"),
            alpha!("/configure/logging"),
            alpha!("/configure/logging"),
            &[("a-corosync-debug", "on"), ("a-sub-TOTEM-debug", "off")],
            Check::Conf("<logging_daemon name=\"corosync\" subsys=\"TOTEM\" debug=\"off\"/>"),
        ),
        story(
            of_cluster!("/configure/fence-daemon"),
            alpha!("/configure/fence-daemon"),
            alpha!("/configure/fence-daemon"),
            &[("a-post_fail_delay", "4")],
            Check::Conf("post_fail_delay=\"4\""),
        ),
        story(
            of_cluster!("/configure/rgmanager"),
            alpha!("/configure/rgmanager"),
            alpha!("/configure/rgmanager"),
            &[("a-watchdog", "/dev/watchdog")],
            Check::Conf("watchdog=\"/dev/watchdog\""),
        ),
    ]
}

fn things() -> Vec<Story> {
    vec![
        story(
            of_cluster!("/nodes/{node}/properties"),
            alpha!("/nodes/node2"),
            alpha!("/nodes/node2/properties"),
            &[("votes", "3")],
            Check::Conf("votes=\"3\""),
        ),
        story(
            of_cluster!("/nodes/{node}/fence-methods"),
            alpha!("/nodes/node1"),
            alpha!("/nodes/node1/fence-methods"),
            &[("name", "backup")],
            Check::Conf("<method name=\"backup\""),
        )
        .by("op", "add-method"),
        story(
            of_cluster!("/nodes/{node}/fence-instance"),
            alpha!("/nodes/node1/fence-instance?method=0&instance=0"),
            alpha!("/nodes/node1/fence-instance"),
            &[("a-port", "77")],
            Check::Conf("port=\"77\""),
        ),
        story(
            of_cluster!("/add-fence-device"),
            alpha!("/add-fence-device?agent=fence_ipmilan"),
            alpha!("/add-fence-device"),
            &[("name", "ipmi")],
            Check::Conf("name=\"ipmi\""),
        ),
        story(
            of_cluster!("/fence-key"),
            alpha!("/add-fence-device?agent=fence_xvm"),
            alpha!("/fence-key"),
            &[],
            Check::World(|world| world.nodes.values().all(|node| node.fence_key.is_some())),
        ),
        story(
            of_cluster!("/fence-key/file"),
            alpha!("/add-fence-device?agent=fence_xvm"),
            alpha!("/fence-key/file"),
            &[],
            Check::Seen("/audit", "download-fence-key"),
        ),
        story(
            of_cluster!("/fence-devices/{name}"),
            alpha!("/fence-devices/ipmi"),
            alpha!("/fence-devices/ipmi"),
            &[("name", "bmc")],
            Check::Conf("name=\"bmc\""),
        ),
        story(
            of_cluster!("/fence-devices/{name}/delete"),
            alpha!("/fence-devices/bmc"),
            alpha!("/fence-devices/bmc/delete"),
            &[],
            Check::NoConf("name=\"bmc\""),
        ),
        story(
            of_cluster!("/move-secrets"),
            alpha!("/fence-devices"),
            alpha!("/move-secrets"),
            &[],
            Check::Conf("passwd=\"secret:"),
        ),
        story(
            of_cluster!("/add-failover-domain"),
            alpha!("/add-failover-domain"),
            alpha!("/add-failover-domain"),
            &[("name", "west"), ("node", "node2")],
            Check::Conf("name=\"west\""),
        ),
        story(
            of_cluster!("/failover-domains/{name}"),
            alpha!("/failover-domains/west"),
            alpha!("/failover-domains/west"),
            &[("name", "north")],
            Check::Conf("name=\"north\""),
        ),
        story(
            of_cluster!("/failover-domains/{name}/delete"),
            alpha!("/failover-domains/north"),
            alpha!("/failover-domains/north/delete"),
            &[],
            Check::NoConf("name=\"north\""),
        ),
        story(
            of_cluster!("/add-resource"),
            alpha!("/add-resource?kind=ip"),
            alpha!("/add-resource"),
            &[("a-address", "10.0.0.77")],
            Check::Conf("10.0.0.77"),
        ),
        story(
            of_cluster!("/resources/{kind}/{name}"),
            alpha!("/resources/ip/10.0.0.77"),
            alpha!("/resources/ip/10.0.0.77"),
            &[("a-address", "10.0.0.78")],
            Check::Conf("10.0.0.78"),
        ),
        story(
            of_cluster!("/resources/{kind}/{name}/delete"),
            alpha!("/resources/ip/10.0.0.78"),
            alpha!("/resources/ip/10.0.0.78/delete"),
            &[],
            Check::NoConf("10.0.0.78"),
        ),
        story(
            of_cluster!("/add-service"),
            alpha!("/add-service"),
            alpha!("/add-service"),
            &[("name", "news")],
            Check::Conf("name=\"news\""),
        ),
        story(
            of_cluster!("/services/{service}/edit"),
            alpha!("/services/service:news"),
            alpha!("/services/service:news/edit"),
            &[("recovery", "restart-disable")],
            Check::Conf("recovery=\"restart-disable\""),
        ),
        tree("add-resource", "/add-resource?kind=script", "/add-resource", ONE, 1),
        tree("add-resource", "/add-resource?kind=script", "/add-resource", TWO, 2),
        applied(Check::Conf("/etc/init.d/two")),
        tree("resources/{place}/move", "", "/resources/1/move", &[], 1).by("to", "up"),
        applied(Check::World(|world| {
            let conf = world.nodes["node1"].conf.clone().unwrap_or_default();
            conf.find("init.d/two") < conf.find("init.d/one")
        })),
        tree("resources/{place}", "/resources/0", "/resources/0", &[("a-file", "/etc/init.d/zwei")], 1),
        applied(Check::Conf("/etc/init.d/zwei")),
        tree("resources/{place}/remove", "", "/resources/0/remove", &[], 1),
        applied(Check::NoConf("/etc/init.d/zwei")),
        story(
            of_cluster!("/services/{service}/delete"),
            alpha!("/services/service:news/delete"),
            alpha!("/services/service:news/delete"),
            &[],
            Check::NoConf("name=\"news\""),
        ),
        story(
            of_cluster!("/configure/text"),
            alpha!("/configure/text"),
            alpha!("/configure/text"),
            &[("text", "s/<fencedevices>/<!-- by hand --><fencedevices>"), ("message", "by hand")],
            Check::Conf("<!-- by hand -->"),
        ),
        story(
            of_cluster!("/configure/versions/{version}/bring-back"),
            alpha!("/configure/versions/2"),
            alpha!("/configure/versions/2/bring-back"),
            &[],
            Check::NoConf("<!-- by hand -->"),
        ),
    ]
}

const ONE: Fields = &[("a-name", "one"), ("a-file", "/etc/init.d/one")];
const TWO: Fields = &[("a-name", "two"), ("a-file", "/etc/init.d/two")];

/// A change of the tree of the service `news`: a step of the draft, which then has so many.
fn tree(route: &str, page: &str, action: &str, fields: Fields, steps: usize) -> Story {
    let routes = routes();
    let route = format!("/clusters/{{cluster}}/services/{{service}}/{route}");
    let route = routes.iter().find(|known| known.path == route).expect("a route").path;
    let news = |rest: &str| &*format!("/clusters/alpha/services/service:news{rest}").leak();
    story(route, news(page), news(action), fields, Check::Draft(Some(steps)))
}

/// The draft is applied, and what its steps said is in force.
fn applied(check: Check) -> Story {
    story(of_cluster!("/draft/apply"), alpha!("/draft"), alpha!("/draft/apply"), &[], check)
}

fn draft() -> Vec<Story> {
    let token = |value: &'static [(&'static str, &'static str)], check| {
        story(
            of_cluster!("/configure/network"),
            alpha!("/configure/network"),
            alpha!("/configure/network"),
            value,
            check,
        )
    };
    vec![
        story(of_cluster!("/draft/begin"), alpha!("/configure"), alpha!("/draft/begin"), &[], Check::Draft(Some(0))),
        token(&[("a-token", "6000")], Check::Draft(Some(1))),
        story(of_cluster!("/draft/undo"), alpha!("/draft"), alpha!("/draft/undo"), &[], Check::Draft(Some(0))),
        token(&[("a-token", "7000")], Check::Draft(Some(1))),
    ]
}

/// After somebody else has made a version.
fn draft_moved() -> Vec<Story> {
    vec![
        story(of_cluster!("/draft/move"), alpha!("/draft"), alpha!("/draft/move"), &[], Check::Moved),
        story(
            of_cluster!("/draft/apply"),
            alpha!("/draft"),
            alpha!("/draft/apply"),
            &[],
            Check::Conf("token=\"7000\""),
        ),
        story(of_cluster!("/draft/begin"), alpha!("/configure"), alpha!("/draft/begin"), &[], Check::Draft(Some(0))),
        story(of_cluster!("/draft/discard"), alpha!("/draft"), alpha!("/draft/discard"), &[], Check::Draft(None)),
    ]
}

/// Finds the form and what a person would do to fill it in and send it, marked in that order; or says what is missing.
const STEPS: &str = r#"((action, fields, button) => {
  const plain = (address) => decodeURIComponent(address || "");
  const wanted = new RegExp("^" + plain(action).replace(/[.?+]/g, "\\$&").replace("*", "[^/]+") + "$");
  const forms = [...document.forms].filter((form) => wanted.test(plain(form.getAttribute("action"))));
  if (!forms.length) return "no form goes to " + action;
  let missing = "";
  for (const form of forms) {
    const all = [...form.elements];
    const press = all.find((e) => e.tagName === "BUTTON" && !e.disabled && (!button || (e.name === button[0] && e.value === button[1])));
    if (!press) { missing = "no such button that can be pressed"; continue; }
    const lacking = fields.find(([name]) => !all.some((e) => e.name === name && e.type !== "hidden"));
    if (lacking) { missing = "no field " + lacking[0]; continue; }
    document.querySelectorAll("[data-step]").forEach((e) => e.removeAttribute("data-step"));
    const steps = [];
    const step = (element, what, text) => {
      element.setAttribute("data-step", steps.length);
      steps.push([what, text || ""]);
    };
    const folds = new Set();
    const unfold = (element) => {
      const closed = [];
      for (let e = element; e; e = e.parentElement) if (e.tagName === "DETAILS" && !e.open && !folds.has(e)) closed.unshift(e);
      for (const fold of closed) { folds.add(fold); step(fold.querySelector("summary"), "click"); }
    };
    for (const [name, value] of fields) {
      const same = all.filter((e) => e.name === name && e.type !== "hidden");
      const box = same.find((e) => ["checkbox", "radio"].includes(e.type) && (e.value === value || value === "off"));
      const element = box || same[0];
      unfold(element);
      if (box) {
        if (box.checked !== (value !== "off")) step(box, "click");
      } else if (element.tagName === "TEXTAREA" && value.startsWith("s/")) {
        const [from, to] = [value.slice(2, value.indexOf("/", 2)), value.slice(value.indexOf("/", 2) + 1)];
        if (!element.value.includes(from)) return "the text has no " + from;
        step(element, "paste", element.value.replace(from, to));
      } else if (element.tagName === "SELECT") {
        const option = [...element.options].find((o) => o.value === value);
        if (!option) return name + " cannot be " + value;
        step(option, "choose");
      } else step(element, "type", value);
    }
    unfold(press);
    step(press, "click");
    return steps;
  }
  return missing + " in the form to " + action;
})"#;

/// Whether the menu around a marked entry can be clicked where it stands; a click on the entry itself would not show it.
const REACHED: &str = r#"((mark) => {
  const menu = document.querySelector(`[data-step="${mark}"]`).closest("select");
  menu.scrollIntoView({block: "center"});
  const box = menu.getBoundingClientRect();
  return document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2) === menu;
})"#;

/// Before whom a play is given.
#[derive(Debug, Clone, Copy)]
struct Seat {
    script: bool,
    language: Language,
    look: Look,
}

impl Seat {
    async fn window(self) -> Window {
        let window = Window::open().await;
        window.allow_script(self.script).await;
        window.accept_language(self.language.tag()).await;
        window.look(self.look).await;
        window
    }
}

/// The whole play: luci, the nodes, the window, and somebody else who looks.
struct Play {
    luci: TestApp,
    fake: Fake,
    base: String,
    seat: Seat,
    window: Window,
    judge: Browser,
    pressed: BTreeSet<&'static str>,
    /// Stories that did not come true; the others are told all the same.
    failures: Vec<String>,
    /// What was wrong with the words and the width of the pages on the way.
    complaints: BTreeSet<String>,
}

impl Play {
    /// On a luci where nothing has happened yet.
    fn on(luci: TestApp, fake: Fake, base: String, window: Window, judge: Browser, seat: Seat) -> Self {
        let (pressed, complaints) = (BTreeSet::new(), BTreeSet::new());
        Self { luci, fake, base, seat, window, judge, pressed, failures: Vec::new(), complaints }
    }

    async fn begin(seat: Seat) -> Self {
        let fake = Fake::new();
        let luci = TestApp::new().await;
        crate::scene::cluster(&luci, &fake).await;
        fake.change(|world| world.nodes.values_mut().for_each(|node| node.secrets = Some(Default::default())));
        let judge = luci.login("judge", Role::Administrator).await;
        let mut dave = luci.login("dave", Role::Viewer).await;
        dave.submit(
            "/account",
            "/account/tokens",
            &[("token-name", "daves"), ("token-role", "viewer"), ("token-cluster", "alpha")],
        )
        .await;
        let base = crate::scene::serve(&luci).await;
        Self::on(luci, fake, base, seat.window().await, judge, seat)
    }

    /// Looks at the page that is open.
    async fn look_around(&mut self) {
        let found = self.window.findings(self.seat.language, self.seat.script).await;
        if !found.is_empty() {
            let page = self.window.ask("location.pathname + location.search").await;
            let page = page.as_str().unwrap_or_default();
            self.complaints.extend(found.into_iter().map(|text| format!("{page}: {text}")));
        }
    }

    /// Everybody is content with the play, or says why not.
    async fn end(self) {
        self.window.driver.quit().await.expect("the window closes");
        assert!(self.failures.is_empty(), "{} stories:\n{}", self.failures.len(), self.failures.join("\n\n"));
        let told: Vec<String> = self.complaints.into_iter().collect();
        assert!(told.is_empty(), "{} findings before {:?}:\n{}", told.len(), self.seat, told.join("\n"));
    }

    /// Fills in a form and sends it, as a person does: by clicks and keys on what is there to be clicked.
    async fn press(&self, action: &str, fields: &[(&str, &str)], button: Option<(&str, &str)>) -> Result<(), String> {
        let button = button.map(|(name, value)| json!([name, value]));
        let call = format!("{STEPS}({}, {}, {})", json!(action), json!(fields), json!(button));
        let mut trouble = String::new();
        // A part that is pushed in this very moment takes the marks with it.
        for _ in 0..3 {
            let steps = self.window.ask(&call).await;
            let Ok(steps) = serde_json::from_value::<Vec<(String, String)>>(steps.clone()) else {
                return Err(format!("{steps}"));
            };
            match self.take_steps(&steps).await {
                Ok(()) => return Ok(()),
                Err(error) => trouble = error,
            }
        }
        Err(trouble)
    }

    async fn take_steps(&self, steps: &[(String, String)]) -> Result<(), String> {
        for (mark, (what, text)) in steps.iter().enumerate() {
            let place = thirtyfour::By::Css(format!("[data-step=\"{mark}\"]"));
            let element = self.window.driver.find(place).await.map_err(|error| error.to_string())?;
            if what == "choose" && self.window.ask(&format!("{REACHED}({mark})")).await != Value::Bool(true) {
                return Err(format!("step {mark}: the menu cannot be clicked"));
            }
            let done = match what.as_str() {
                // A person has it from elsewhere.
                "paste" => {
                    let paste = format!("document.querySelector('[data-step=\"{mark}\"]').value = {}", json!(text));
                    let clicked = element.click().await;
                    self.window.ask(&paste).await;
                    clicked
                }
                "type" => {
                    async {
                        element.click().await?;
                        element.clear().await?;
                        element.send_keys(text.as_str()).await
                    }
                    .await
                }
                _ => element.click().await,
            };
            done.map_err(|error| format!("step {mark} ({what}): {error}"))?;
        }
        Ok(())
    }

    /// Tells one story; the error is what went wrong.
    async fn tell(&mut self, story: Story) {
        self.pressed.insert(story.route);
        let before = match story.check {
            Check::Fewer(page, needle) => self.judge.get(page).await.body.matches(needle).count(),
            _ => 0,
        };
        let wrong = match self.find_and_press(&story, before).await {
            Err(error) => error,
            Ok(()) if self.comes_true(&story.check, before).await => return self.look_around().await,
            Ok(()) => "what it says was not done".to_owned(),
        };
        let page = self.window.ask("location.pathname + \"\\n\" + document.querySelector('main')?.innerText").await;
        let conf = self.fake.change(|world| world.nodes.get("node1")?.conf.clone()).unwrap_or_default();
        let page = page.as_str().unwrap_or_default();
        self.failures.push(format!("{} by {} on {}: {wrong}\n{page}\n{conf}", story.route, story.action, story.page));
    }

    /// Opens the page, again until it offers the form: what the nodes do reaches luci's pages a moment later.
    async fn find_and_press(&mut self, story: &Story, before: usize) -> Result<(), String> {
        let mut changes = self.luci.app.watchers.subscribe_any();
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            changes.mark_unchanged();
            self.window.visit(&format!("{}{}", self.base, story.page)).await;
            if !matches!(story.check, Check::Fewer(..)) && self.holds(&story.check, before).await {
                return Err("it is so already: this story could not fail".into());
            }
            self.look_around().await;
            match self.press(story.action, story.fields, story.button).await {
                Ok(()) => break,
                Err(error) if tokio::time::Instant::now() > end => return Err(error),
                Err(_) => drop(tokio::time::timeout(Duration::from_millis(500), changes.changed()).await),
            }
        }
        match story.confirm {
            Some((action, fields)) => {
                self.look_around().await;
                self.press(action, fields, None).await
            }
            None => Ok(()),
        }
    }

    async fn comes_true(&mut self, check: &Check, before: usize) -> bool {
        let mut changes = self.fake.changed.subscribe();
        let wait = async {
            while !self.holds(check, before).await {
                changes.mark_unchanged();
                // What luci does by itself is told to nobody here.
                let _ = tokio::time::timeout(Duration::from_millis(100), changes.changed()).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.is_ok()
    }

    async fn holds(&mut self, check: &Check, before: usize) -> bool {
        let conf = || self.fake.change(|world| world.nodes["node1"].conf.clone()).unwrap_or_default();
        match check {
            Check::Conf(text) => conf().contains(text),
            Check::NoConf(text) => !conf().contains(text),
            Check::World(is_so) => self.fake.change(|world| is_so(world)),
            Check::Seen(page, text) => self.judge.get(page).await.body.contains(text),
            Check::Unseen(page, text) => !self.judge.get(page).await.body.contains(text),
            Check::Fewer(page, text) => self.judge.get(page).await.body.matches(text).count() < before,
            Check::Draft(steps) => self.draft().await.map(|draft| draft.steps.len()) == *steps,
            Check::Moved => {
                let version = load(&conf()).conf.map(|conf| conf.version);
                self.draft().await.is_some_and(|draft| Some(draft.base) == version)
            }
            Check::Themed(theme) => {
                let admin = self.luci.app.repo.user_by_name("admin").await.expect("database").expect("admin");
                admin.preferences.theme == *theme
            }
            Check::Login(name, password) => {
                let mut browser = self.luci.browser();
                let token = browser.get("/login").await.hidden("csrf").expect("token");
                let answer = browser.post("/login", &[("csrf", &token), ("name", name), ("password", password)]).await;
                answer.status == StatusCode::SEE_OTHER
            }
            Check::LoggedIn(wanted) => {
                let there = self.window.ask("document.querySelector('[data-test=logout]') !== null").await;
                there == Value::Bool(*wanted)
            }
            Check::Demanded(from) => self.luci.app.repo.factor_demanded_from().await.expect("database") == *from,
            Check::Factor(name, wanted) => {
                let repo = &self.luci.app.repo;
                let user = repo.user_by_name(name).await.expect("database").expect("account");
                repo.factor(user.id).await.expect("database").is_some() == *wanted
            }
        }
    }

    async fn draft(&self) -> Option<Draft> {
        let app = &self.luci.app;
        let cluster = app.cluster("alpha").await.expect("alpha").id;
        let admin = app.repo.user_by_name("admin").await.expect("database").expect("admin").id;
        app.repo.draft(cluster, admin).await.expect("database")
    }

    async fn tell_all(&mut self, stories: Vec<Story>) {
        for story in stories {
            self.tell(story).await;
        }
    }

    /// Fills in the form of new nodes and sees the task through, as far as `until` says.
    async fn task(
        &mut self,
        route: &'static str,
        page: &str,
        node: (&str, u16, &str),
        name: Option<&str>,
        until: &str,
    ) -> String {
        self.pressed.insert(route);
        self.window.visit(&format!("{}{page}", self.base)).await;
        let port = node.1.to_string();
        let mut fields = vec![("node-0-host", "127.0.0.1"), ("node-0-port", port.as_str()), ("node-0-secret", node.2)];
        if !page.ends_with("/pair") && page != "/add-cluster" {
            fields.push(("node-0-name", node.0));
        }
        fields.extend(name.map(|name| ("name", name)));
        self.look_around().await;
        self.press(page, &fields, None).await.unwrap_or_else(|error| panic!("{page}: {error}"));
        let task = self.led_to("/tasks/").await.unwrap_or_else(|path| panic!("{page} led to {path}"));
        self.go_on(&task, until).await;
        self.window.visit(&format!("{}{task}", self.base)).await;
        self.look_around().await;
        task
    }

    /// The page that the window comes to, for a click is answered before its form is; else where it stays.
    async fn led_to(&self, begin: &str) -> Result<String, String> {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let path = self.window.ask("location.pathname").await.as_str().unwrap_or_default().to_owned();
            if path.starts_with(begin) {
                return Ok(path);
            }
            if tokio::time::Instant::now() > end {
                return Err(path);
            }
        }
    }

    /// Confirms the fingerprints if luci asks for it, and waits for the end that is wanted.
    async fn go_on(&mut self, task: &str, until: &str) {
        self.pressed.insert("/tasks/{task}/confirm");
        self.judge.wait_for(task, "data-test=\"").await;
        let wait = async {
            loop {
                let body = self.judge.get(task).await.body;
                if body.contains(&format!("data-test=\"{until}\"")) {
                    return;
                }
                if body.contains("data-test=\"confirm-pairing\"") {
                    self.window.visit(&format!("{}{task}", self.base)).await;
                    self.look_around().await;
                    let _ = self.press(&format!("{task}/confirm"), &[], None).await;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("{task} never came to {until}: {}", self.judge.get(task).await.text());
        }
    }

    /// Nodes and clusters come and go.
    async fn come_and_go(&mut self) {
        let node4 = new_node(&self.fake, "node4").await;
        let right = |port: u16, name: &'static str| (name, port, PASSWORD);
        self.task(
            of_cluster!("/add-node"),
            alpha!("/add-node"),
            right(node4.address.port(), "node4"),
            None,
            "task-done",
        )
        .await;
        assert!(self.holds(&Check::Conf("name=\"node4\""), 0).await);
        self.task(
            of_cluster!("/nodes/{node}/pair"),
            alpha!("/nodes/node4/pair"),
            right(node4.address.port(), "node4"),
            None,
            "task-done",
        )
        .await;
        let delete = story(
            of_cluster!("/nodes/{node}/delete"),
            alpha!("/nodes/node4/delete"),
            alpha!("/nodes/node4/delete"),
            &[("type-name", "node4")],
            Check::NoConf("name=\"node4\""),
        );
        self.tell(delete).await;

        // A wrong password fails the task; the right one goes on, and another one is given up.
        // One world is one cluster.
        let (beta, gamma) = (Fake::new(), Fake::new());
        let (node5, node6) = (new_node(&beta, "node5").await, new_node(&gamma, "node6").await);
        let wrong = ("node5", node5.address.port(), "wrong");
        let task = self.task("/create-cluster", "/create-cluster", wrong, Some("beta"), "task-failed").await;
        self.pressed.insert("/tasks/{task}/retry");
        self.window.visit(&format!("{}{task}", self.base)).await;
        self.press(&format!("{task}/retry"), &[("node-0-secret", PASSWORD)], None).await.expect("retry");
        self.go_on(&task, "task-done").await;
        assert!(beta.change(|world| world.nodes["node5"].conf.is_some()), "beta was not made");
        let wrong = ("node6", node6.address.port(), "wrong");
        let task = self.task("/create-cluster", "/create-cluster", wrong, Some("gamma"), "task-failed").await;
        self.pressed.insert("/tasks/{task}/give-up");
        self.window.visit(&format!("{}{task}", self.base)).await;
        self.press(&format!("{task}/give-up"), &[], None).await.expect("give up");
        assert!(
            self.comes_true(&Check::Unseen("/clusters", "data-test=\"cluster-gamma\""), 0).await,
            "gamma is still there"
        );

        let remove = story(
            of_cluster!("/remove"),
            alpha!("/remove"),
            alpha!("/remove"),
            &[("type-name", "alpha")],
            Check::Unseen("/clusters", "data-test=\"cluster-alpha\""),
        );
        self.tell(remove).await;
        // luci has forgotten it; the nodes have not.
        let beta = story(
            of_cluster!("/remove"),
            "/clusters/beta/remove",
            "/clusters/beta/remove",
            &[("type-name", "beta")],
            Check::Unseen("/clusters", "data-test=\"cluster-beta\""),
        );
        self.tell(beta).await;
        self.task("/add-cluster", "/add-cluster", ("node5", node5.address.port(), PASSWORD), None, "task-done").await;
        assert!(self.holds(&Check::Seen("/clusters", "data-test=\"cluster-beta\""), 0).await);
    }
}

/// A node of today: it keeps secrets.
async fn new_node(fake: &Fake, name: &str) -> FakeNode {
    let node = fake.node(name).await;
    fake.change(|world| world.nodes.get_mut(name).expect("node").secrets = Some(Default::default()));
    node
}

/// The first administrator, on a luci that nobody has used.
async fn set_up(seat: Seat) {
    let luci = TestApp::new().await;
    let token = luci::app::auth::setup_token(&luci.app.repo).await.expect("database").expect("nobody can log in");
    let base = crate::scene::serve(&luci).await;
    let judge = luci.browser();
    let mut play = Play::on(luci, Fake::new(), base, seat.window().await, judge, seat);
    play.window.visit(&format!("{}/setup?token={token}", play.base)).await;
    play.look_around().await;
    let fields = [("name", "eve"), ("password", "a first horse 1"), ("again", "a first horse 1")];
    play.press("/setup", &fields, None).await.expect("set up");
    assert!(play.comes_true(&Check::Login("eve", "a first horse 1"), 0).await);
    play.end().await;
}

/// Forms of the second factor.
const FACTOR: &[&str] = &[
    "/account/second-factor/begin",
    "/account/second-factor/confirm",
    "/account/second-factor/remove",
    "/login/code",
    "/users/{name}/second-factor/remove",
    "/users-second-factor",
];

/// An administrator switches a second factor on, logs in with it, takes it away, and takes away another one's.
async fn second_factor(seat: Seat) {
    let luci = TestApp::new().await;
    luci.login("admin", Role::Administrator).await;
    luci.login("dave", Role::Viewer).await;
    let base = crate::scene::serve(&luci).await;
    let window = seat.window().await;
    crate::scene::log_in(&window, &base).await;
    let judge = luci.browser();
    let mut play = Play::on(luci, Fake::new(), base, window, judge, seat);
    let codes = crate::scene::switch_factor_on(&play.window, &play.base).await;
    assert!(play.holds(&Check::Factor("admin", true), 0).await);

    play.press("/logout", &[], None).await.expect("logged out");
    assert!(play.comes_true(&Check::LoggedIn(false), 0).await);
    crate::scene::begin_login(&play.window, &play.base).await;
    assert!(play.holds(&Check::LoggedIn(false), 0).await, "the password alone is not enough");
    play.press("/login/code", &[("code", &codes[0])], None).await.expect("code");
    assert!(play.comes_true(&Check::LoggedIn(true), 0).await);

    for (from, role) in [("operator", Some(Role::Operator)), ("", None)] {
        play.window.visit(&format!("{}/users", play.base)).await;
        play.look_around().await;
        play.press("/users-second-factor", &[("from", from)], None).await.expect("demand");
        assert!(play.comes_true(&Check::Demanded(role), 0).await);
        play.look_around().await;
    }

    play.window.visit(&format!("{}/account/second-factor", play.base)).await;
    let proof = [("factor-password", "correct horse"), ("code", codes[1].as_str())];
    play.press("/account/second-factor/remove", &proof, None).await.expect("remove");
    assert!(play.comes_true(&Check::Factor("admin", false), 0).await);

    let dave = play.luci.app.repo.user_by_name("dave").await.expect("database").expect("dave").id;
    play.luci.app.repo.set_factor(dave, "JBSWY3DPEHPK3PXP", 0, &[], None).await.expect("database");
    play.window.visit(&format!("{}/users/dave", play.base)).await;
    play.press("/users/dave/second-factor/remove", &[], None).await.expect("remove");
    assert!(play.comes_true(&Check::Factor("dave", false), 0).await);
    play.look_around().await;
    play.end().await;
}

async fn every_action(seat: Seat) {
    set_up(seat).await;
    second_factor(seat).await;
    let mut play = Play::begin(seat).await;
    play.pressed.insert("/setup");
    play.pressed.extend(FACTOR);
    play.tell_all(accounts()).await;
    if play.holds(&Check::LoggedIn(false), 0).await {
        play.tell_all(farewell().into_iter().take(1).collect()).await;
    }
    play.tell_all(operations()).await;
    play.tell_all(settings()).await;
    play.tell_all(things()).await;
    play.tell_all(draft()).await;
    let page = alpha!("/add-service");
    let other = play.judge.submit(page, page, &[("name", "other"), ("recovery", "relocate")]).await;
    assert_eq!(other.status, StatusCode::SEE_OTHER, "{}", other.text());
    play.tell_all(draft_moved()).await;
    play.come_and_go().await;
    play.tell_all(farewell().split_off(1)).await;
    let all = routes();
    let actions = all.iter().filter(|route| route.method == Method::POST && !route.path.starts_with("/api/"));
    let untold: Vec<&str> = actions.map(|route| route.path).filter(|path| !play.pressed.contains(path)).collect();
    assert!(untold.is_empty(), "nobody presses these forms here: {untold:?}");
    play.end().await;
}

const WIDE: u32 = 1280;
const NARROW: u32 = 390;

// Four plays: between them every language, and every pair of script or none, width and theme.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_action_does_what_it_says_with_script_in_english_wide_and_light() {
    let look = Look { width: WIDE, dark: false };
    every_action(Seat { script: true, language: Language::English, look }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_action_does_what_it_says_without_script_in_traditional_chinese_narrow_and_light() {
    let look = Look { width: NARROW, dark: false };
    every_action(Seat { script: false, language: Language::Traditional, look }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_action_does_what_it_says_with_script_in_simplified_chinese_narrow_and_dark() {
    let look = Look { width: NARROW, dark: true };
    every_action(Seat { script: true, language: Language::Simplified, look }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_action_does_what_it_says_without_script_in_english_wide_and_dark() {
    let look = Look { width: WIDE, dark: true };
    every_action(Seat { script: false, language: Language::English, look }).await;
}
