//! Every page in a true browser: every route that draws one, at two widths, in both themes, in all languages, with and
//! without script. Nothing may be untranslated, wider than the window, or a serious obstacle by the rules of WCAG (axe-core).
//! The list of pages is the table of routes: a new page without an address here fails. Pictures of all pages are written to
//! `target/screenshots/pages`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::fake::Fake;
use crate::support::TestApp;
use crate::window::{Look, Window, axe_core, said};
use axum::http::{Method, StatusCode};
use luci::http::{Route, routes};
use luci::language::Language;
use luci::repo::users::Role;

/// Addresses of pages whose route alone does not say which; `""` is the bare route.
const MORE: &[(&str, &[&str])] = &[
    ("/clusters/{cluster}/nodes/{node}/{order}", &["fence", "leave", "reboot", "acknowledge-fence"]),
    ("/clusters/{cluster}/add-fence-device", &["", "?agent=fence_ipmilan", "?agent=fence_unheard"]),
    ("/clusters/{cluster}/add-resource", &["", "?q=web", "?q=nothing-like-it", "?kind=ip", "?kind=fs", UNSEEN]),
    ("/clusters/{cluster}/services/{service}/add-resource", &["", "?parent=0", "?kind=script", UNSEEN]),
    ("/clusters", &["", "?q=web&only=problems", "?q=nothing-like-it"]),
    ("/clusters/{cluster}/events", &["", "?about=node:node1&group=fencing&words=bmc+power&problems=1"]),
    ("/clusters/{cluster}/what-if", &["", "?lost=node1"]),
    ("/clusters/{cluster}/failover-domains/{name}", &["", "?lost=node1"]),
    ("/clusters/{cluster}/configure/compare", &["?from=1&to=2"]),
    ("/clusters/{cluster}/nodes/{node}/fence-instance", &["?method=0&instance=0"]),
];

/// The form of an agent of which luci knows what the agent says.
const UNSEEN: &str = "?kind=ocf&agent=ocf:acme:website";

/// Its words, long and with marks of their own; a parameter of each type.
const WEBSITE: &str = r#"<resource-agent name="website"><shortdesc lang="en">Serves a web site</shortdesc>
<longdesc lang="en">Serves a web site &lt;as fast as it can&gt;. It needs a directory, a port and a good deal of patience; the rest it finds out by itself, if it is given time.

WARNING: two of them must not share a port.</longdesc><parameters>
<parameter name="name"><content type="string"/><shortdesc lang="en">Host name</shortdesc></parameter>
<parameter name="directory" required="1" unique="1"><content type="string" default="/srv/www"/><shortdesc lang="en">Directory of the site</shortdesc>
<longdesc lang="en">Where the files of the site lie. The directory must be there before the site is started, with all files below it, and must be readable by the server.

It is not made by the agent.</longdesc></parameter>
<parameter name="port"><content type="integer" default="80" min="1" max="65535"/><shortdesc lang="en">Port</shortdesc></parameter>
<parameter name="fast"><content type="boolean" default="true"/><shortdesc lang="en">A text that is too long to be a label, because it explains everything at once</shortdesc></parameter>
<parameter name="patience"><content type="second" default="20"/></parameter>
<parameter name="protocol"><content type="select" default="h2"><option value="h1"/><option value="h2"/></content></parameter>
<parameter name="password"><content type="string"/></parameter><parameter name="binary"><content type="string"/></parameter>
<parameter name="options_that_go_to_the_server_itself_without_a_look_at_them"><content type="string"/></parameter>
<parameter name="log"><content type="string"/></parameter><parameter name="pidfile"><content type="string"/></parameter>
<parameter name="docroot" deprecated="1"><content type="string"/></parameter></parameters>
<actions><action name="start" timeout="40s"/><action name="stop" timeout="60s"/>
<action name="monitor" timeout="30s" interval="10s" depth="0"/><action name="monitor" timeout="45s" interval="30s" depth="10"/>
<action name="validate-all" timeout="5s"/></actions></resource-agent>"#;

/// Routes that answer with no page of their own.
const NO_PAGE: &[&str] =
    &["/static/{*path}", "/favicon.ico", "/", "/setup", "/login", "/clusters/{cluster}/events/file"];

/// In an order in which one thing changes at a time: the browser lays the page out anew each time.
const LOOKS: [Look; 4] = [
    Look { width: 1280, dark: false },
    Look { width: 1280, dark: true },
    Look { width: 390, dark: true },
    Look { width: 390, dark: false },
];

/// Where things of the stage are.
fn values(route: &str, task: &str) -> Vec<(&'static str, String)> {
    let named = match route {
        path if path.contains("fence-devices") => "apc",
        path if path.contains("failover-domains") => "east",
        path if path.contains("/resources/{kind}") => "10.0.0.10",
        _ => "operator",
    };
    [
        ("{cluster}", "alpha"),
        ("{task}", task),
        ("{node}", "node1"),
        ("{service}", "service:web"),
        ("{place}", "0"),
        ("{name}", named),
        ("{kind}", "ip"),
        ("{version}", "2"),
        ("{domain}", "east"),
        ("{device}", "apc"),
    ]
    .map(|(place, value)| (place, value.to_owned()))
    .into()
}

/// The addresses of a route's page.
fn addresses(route: &Route, task: &str) -> Vec<String> {
    let more = MORE.iter().find(|(path, _)| *path == route.path).map_or(&[""][..], |(_, more)| more);
    let mut all = Vec::new();
    for rest in more {
        let path = match route.path.strip_suffix("{order}") {
            Some(stem) => format!("{stem}{rest}"),
            None => format!("{}{rest}", route.path),
        };
        let path = values(route.path, task).iter().fold(path, |path, (place, value)| path.replace(place, value));
        assert!(!path.contains('{'), "say in this test what stands in {path}");
        all.push(path);
    }
    all
}

/// All pages of an administrator.
fn pages(task: &str) -> Vec<String> {
    let draws = |route: &&Route| {
        route.method == Method::GET
            && !route.path.starts_with("/api/")
            && !route.path.ends_with("-stream")
            && !NO_PAGE.contains(&route.path)
    };
    let mut pages: Vec<String> = routes().iter().filter(draws).flat_map(|route| addresses(route, task)).collect();
    pages.push("/no-such-page".into());
    pages.push("/clusters/no-such-cluster".into());
    pages
}

/// A cluster with everything that pages can show; its third node does not answer.
async fn stage(luci: &TestApp, fake: &Fake) -> String {
    fake.change(|world| world.resource_agents.insert("ocf:acme:website".into(), WEBSITE.into()));
    let (mut browser, task) = crate::scene::cluster(luci, fake).await;
    luci.login("operator", Role::Operator).await;
    let token = [("token-name", "backup"), ("token-role", "viewer"), ("token-cluster", "alpha")];
    browser.submit("/account", "/account/tokens", &token).await;
    browser.submit("/clusters/alpha/configure", "/clusters/alpha/draft/begin", &[]).await;
    browser.wait_for("/clusters/alpha/add-resource", "agent-ocf:acme:website").await;
    fake.change(|world| world.failover("web"));
    browser.wait_for("/clusters/alpha/events", "data-test=\"lanes\"").await;
    fake.change(|world| world.nodes.get_mut("node3").expect("node").hung = true);
    task
}

/// The serious findings of axe-core, of all its rules or of those that are named. Where the page may not run scripts no timer
/// fires, and axe-core waits for timers that it sets to let a page breathe: there they are done at once.
const AXE: &str = r#"((rules, timers) => {
  if (!timers) window.setTimeout = (work) => { Promise.resolve().then(work); return 0; };
  return axe.run(document, {resultTypes: ["violations"], rules: {"target-size": {enabled: true}, ...(rules.off || {})}, ...(rules.only ? {runOnly: rules.only} : {})}).then((r) => r.violations
  .filter((v) => v.impact === "serious" || v.impact === "critical")
  .map((v) => v.id + ": " + v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + " (" + (n.any[0] || n.all[0] || n.none[0] || {message: ""}).message + ")").join(" | ")));
})"#;

/// All rules of axe-core.
const ALL: &str = "{}";
/// All that do not look at colours.
const WORDS: &str = "{off: {'color-contrast': {enabled: false}, 'link-in-text-block': {enabled: false}}}";
/// Those whose answer the width of the window or the length of words can change.
const SIZES: &str = "{only: ['target-size', 'scrollable-region-focusable', 'meta-viewport']}";
/// Those whose answer a theme can change.
const COLOURS: &str = "{only: ['color-contrast', 'link-in-text-block']}";
/// Both.
const LOOKED_AT: &str =
    "{only: ['target-size', 'scrollable-region-focusable', 'meta-viewport', 'color-contrast', 'link-in-text-block']}";

/// Which rules of axe-core judge a page in this look. Every rule judges every page in every language, with and without script,
/// at least once; what a width, a theme or a language cannot change is not asked again, because axe-core is slow. Colours do
/// not depend on the language, words not on the theme.
fn rules(script: bool, language: Language, look: Look) -> Option<&'static str> {
    match (script, language, look.width, look.dark) {
        (_, Language::English, 1280, false) => Some(ALL),
        (_, Language::English, 1280, true) => Some(COLOURS),
        (true, Language::English, _, false) => Some(SIZES),
        (_, Language::English, _, true) => Some(LOOKED_AT),
        (true, Language::Simplified, 1280, false) | (false, Language::Traditional, 1280, false) => Some(WORDS),
        (true, Language::Simplified, _, false) | (false, Language::Traditional, _, false) => Some(SIZES),
        _ => None,
    }
}

/// Windows that look at pages at the same time.
const WINDOWS: usize = 2;

/// A page's name in the name of a picture.
fn file_name(page: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '_' };
    // A task has another name in every run.
    let page = if page.starts_with("/tasks/") { "/tasks/one" } else { page };
    page.trim_start_matches('/').chars().map(plain).collect()
}

/// What was found, told once per page and finding.
#[derive(Default)]
struct Complaints(BTreeSet<String>);

impl Complaints {
    fn add(&mut self, page: &str, how: &str, found: Vec<String>) {
        self.0.extend(found.into_iter().map(|text| format!("{page} [{how}]: {text}")));
    }
}

/// Whether a page is opened in this look at all: words and width in both widths, and whatever axe-core is asked about.
fn is_looked_at(script: bool, language: Language, look: Look) -> bool {
    !look.dark || rules(script, language, look).is_some()
}

/// One page in one language: words and width in both widths, and by axe-core; in English and with script, with pictures.
async fn inspect(
    window: &Window,
    page: &str,
    language: Language,
    script: bool,
    axe: &str,
    complaints: &mut Complaints,
) {
    let pictures = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/screenshots/pages"));
    let mut looks: Vec<Look> = LOOKS.into_iter().filter(|look| is_looked_at(script, language, *look)).collect();
    if looks.iter().any(|look| rules(script, language, *look).is_some()) {
        window.ask(axe).await;
    }
    // It begins as the page before ended.
    if window.last_look().is_some_and(|last| looks.last() == Some(&last)) {
        looks.reverse();
    }
    for look in looks {
        window.look(look).await;
        let how = format!("{} {}{}", language.tag(), look.name(), if script { "" } else { " no script" });
        if !look.dark {
            complaints.add(page, &how, window.findings(language, script).await);
        }
        if let Some(rules) = rules(script, language, look) {
            complaints.add(page, &how, said(&window.ask(&format!("{AXE}({rules}, {script})")).await));
        }
        if script && language == Language::English {
            let name = format!("{}.png", file_name(page));
            window.picture(&pictures.join(language.tag()).join(look.name()).join(name)).await;
        }
    }
}

/// Looks at pages in every language; without script in the language whose words are widest and in one that is not English,
/// for what the server sends is the same.
async fn look_over(window: &Window, base: &str, pages: &[String], axe: &str) -> Complaints {
    let mut complaints = Complaints::default();
    for (script, languages) in [(true, &Language::ALL[..]), (false, &[Language::English, Language::Traditional][..])] {
        window.allow_script(script).await;
        for &language in languages {
            window.accept_language(language.tag()).await;
            for page in pages {
                window.visit(&format!("{base}{page}")).await;
                inspect(window, page, language, script, axe, &mut complaints).await;
            }
        }
    }
    window.allow_script(true).await;
    complaints
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_complete_in_every_language_width_and_theme() {
    let fake = Fake::new();
    let luci = TestApp::new().await;
    let task = stage(&luci, &fake).await;
    let base = crate::scene::serve(&luci).await;
    let axe = format!("{}; undefined", axe_core());
    let pages = pages(&task);
    let parts: Vec<&[String]> = pages.chunks(pages.len().div_ceil(WINDOWS)).collect();
    let looks = parts.into_iter().enumerate().map(|(part, pages)| {
        let (base, axe) = (&base, &axe);
        async move {
            let window = Window::open().await;
            let mut complaints = Complaints::default();
            if part == 0 {
                complaints = look_over(&window, base, &["/login".to_owned()], axe).await;
            }
            crate::scene::log_in(&window, base).await;
            complaints.0.extend(look_over(&window, base, pages, axe).await.0);
            window.driver.quit().await.expect("the window closes");
            complaints
        }
    });
    let complaints = futures_util::future::join_all(looks).await;
    let told: BTreeSet<String> = complaints.into_iter().flat_map(|complaints| complaints.0).collect();
    let told: Vec<String> = told.into_iter().collect();
    assert!(told.is_empty(), "{} findings on {} pages:\n{}", told.len(), pages.len(), told.join("\n"));
}

/// The pages that only a form leads to: the secret with its picture, the recovery codes, and the second step of the login.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_of_a_second_factor_are_complete_in_every_language_width_and_theme() {
    let luci = TestApp::new().await;
    luci.login("admin", Role::Administrator).await;
    let base = crate::scene::serve(&luci).await;
    let axe = format!("{}; undefined", axe_core());
    let window = Window::open().await;
    let mut complaints = Complaints::default();
    crate::scene::log_in(&window, &base).await;
    for language in Language::ALL {
        window.accept_language(language.tag()).await;
        luci.app.repo.demand_factor(Some(Role::Viewer)).await.expect("database");
        window.visit(&format!("{base}/clusters")).await;
        window.driver.find(thirtyfour::By::Css("[data-test=factor-demanded]")).await.expect("it is demanded");
        inspect(&window, "/account/second-factor/demanded", language, true, &axe, &mut complaints).await;
        luci.app.repo.demand_factor(None).await.expect("database");
        crate::scene::begin_factor(&window, &base).await;
        inspect(&window, "/account/second-factor/begin", language, true, &axe, &mut complaints).await;
        crate::scene::confirm_factor(&window).await;
        inspect(&window, "/account/second-factor/confirm", language, true, &axe, &mut complaints).await;
        window.visit(&format!("{base}/account/second-factor")).await;
        inspect(&window, "/account/second-factor/on", language, true, &axe, &mut complaints).await;
        crate::scene::begin_login(&window, &base).await;
        inspect(&window, "/login/code", language, true, &axe, &mut complaints).await;
        let admin = luci.app.repo.user_by_name("admin").await.expect("database").expect("admin").id;
        assert!(luci.app.repo.remove_factor(admin).await.expect("database"), "it was on");
    }
    window.driver.quit().await.expect("the window closes");
    let told: Vec<String> = complaints.0.into_iter().collect();
    assert!(told.is_empty(), "{} findings:\n{}", told.len(), told.join("\n"));
}

#[tokio::test]
async fn every_page_of_the_table_answers() {
    let fake = Fake::new();
    let luci = TestApp::new().await;
    let task = stage(&luci, &fake).await;
    let mut browser = luci.login_again("admin").await;
    for page in pages(&task) {
        let answer = browser.get(&page).await;
        let expected = if page.contains("no-such") { StatusCode::NOT_FOUND } else { StatusCode::OK };
        assert_eq!(answer.status, expected, "give {page} an address in this test: {}", answer.text());
    }
}
