//! What the tests in a true browser play on: a luci that serves on a port, and a cluster of fake nodes with one of each thing.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::StatusCode;
use axum_server::tls_rustls::RustlsConfig;
use luci::repo::users::Role;
use luci::tls::{self, Purpose};

use crate::fake::{Fake, PASSWORD};
use crate::support::{Browser, TestApp};
use crate::window::Window;

/// A running cluster `alpha` of three nodes with fencing, a failover domain, shared resources and two services, of which `web`
/// runs; a browser of the administrator who made it, and the task that did.
pub(crate) async fn cluster(luci: &TestApp, fake: &Fake) -> (Browser, String) {
    let mut browser = luci.login("admin", Role::Administrator).await;
    let mut nodes = Vec::new();
    for name in ["node1", "node2", "node3"] {
        nodes.push(fake.node(name).await);
    }
    let (task, _) = browser.create_cluster(nodes.iter().map(|node| (node.name.as_str(), node.address)), PASSWORD).await;
    browser.wait_for("/clusters/alpha", "Quorate").await;
    write_conf(&mut browser).await;
    browser.wait_for("/clusters/alpha", "data-test=\"service-service:db\"").await;
    let order = "/clusters/alpha/services/service:web/request";
    browser.submit("/clusters/alpha/services/service:web", order, &[("verb", "enable"), ("node", "")]).await;
    (browser, task.trim_start_matches("/tasks/").to_owned())
}

/// A configuration that has one of each, through the page for experts.
async fn write_conf(browser: &mut Browser) {
    let page = "/clusters/alpha/configure/text";
    let form = browser.get(page).await;
    let text = form.body.split_once("<textarea").and_then(|(_, rest)| rest.split_once('>')).expect("text").1;
    let text = text.split("</textarea>").next().expect("text");
    let text = text.replace("&#60;", "<").replace("&#62;", ">").replace("&#34;", "\"").replace("&#38;", "&");
    let (head, _) = text.split_once("<clusternodes").expect("nodes");
    let node = |id: u32| {
        format!(
            r#"<clusternode name="node{id}" nodeid="{id}"><fence><method name="power"><device name="apc" port="{id}"/></method></fence></clusternode>"#
        )
    };
    let text = format!(
        r#"{head}<clusternodes>{}{}{}</clusternodes>
<fencedevices><fencedevice name="apc" agent="fence_apc" ipaddr="10.0.0.201" login="apc" passwd="secret"/></fencedevices>
<rm><failoverdomains><failoverdomain name="east" ordered="1" restricted="1"><failoverdomainnode name="node1" priority="1"/><failoverdomainnode name="node2" priority="2"/></failoverdomain></failoverdomains>
<resources><ip address="10.0.0.10" monitor_link="1"/><fs name="data" device="/dev/vg0/data" mountpoint="/srv/data" fstype="ext4"/></resources>
<service name="web" domain="east" recovery="relocate"><fs ref="data"><script name="httpd" file="/etc/init.d/httpd" __independent_subtree="1"/></fs><ip ref="10.0.0.10"/></service>
<service name="db" autostart="0"><script name="mysqld" file="/etc/init.d/mysqld"/></service></rm></cluster>"#,
        node(1),
        node(2),
        node(3)
    );
    let answer = browser.submit(page, page, &[("text", &text), ("message", "services for the shop")]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
}

/// luci for the browser, on a port of its own.
pub(crate) async fn serve(luci: &TestApp) -> String {
    let identity = tls::load_or_make(luci.dir.path(), "server", "localhost", Purpose::Server).expect("certificate");
    let config = RustlsConfig::from_config(Arc::new(tls::server_config(&identity).expect("settings")));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("non-blocking");
    let base = format!("https://localhost:{}", listener.local_addr().expect("address").port());
    let service = luci::http::router(luci.app.clone()).into_make_service_with_connect_info::<SocketAddr>();
    let server = axum_server::from_tcp_rustls(listener, config).expect("server");
    tokio::spawn(server.serve(service));
    base
}

/// Logs in by the form of the window.
pub(crate) async fn log_in(window: &Window, base: &str) {
    window.visit(&format!("{base}/login")).await;
    let fill =
        "document.getElementById('name').value = 'admin'; document.getElementById('password').value = 'correct horse';";
    window.ask(fill).await;
    let button = window.driver.find(thirtyfour::By::Css("[data-test=login]")).await.expect("button");
    button.click().await.expect("click");
    window.driver.find(thirtyfour::By::Css("[data-test=account]")).await.expect("logged in");
}

/// Presses a button; what it leads to shows the mark.
async fn press(window: &Window, fill: &str, button: &str, mark: &'static str) {
    use thirtyfour::extensions::query::ElementQueryable as _;
    window.ask(fill).await;
    let css = format!("[data-test={button}]");
    window.driver.find(thirtyfour::By::Css(css)).await.expect(button).click().await.expect("click");
    // Asks until it is there: a click may come back before the next page has.
    window.driver.query(thirtyfour::By::Css(mark)).first().await.expect(mark);
}

/// Shows the secret of a new second factor of the account that the window is logged in with.
pub(crate) async fn begin_factor(window: &Window, base: &str) {
    window.visit(&format!("{base}/account/second-factor")).await;
    let fill = "document.getElementById('factor-password').value = 'correct horse'";
    press(window, fill, "begin-factor", "[data-test=qr]").await;
}

/// Confirms the secret that the window shows, as an authenticator would; the recovery codes.
pub(crate) async fn confirm_factor(window: &Window) -> Vec<String> {
    let secret = window.ask("document.getElementById('factor-secret').textContent").await;
    let secret = secret.as_str().expect("a secret").replace(' ', "");
    let secret = totp_rs::Secret::try_from_base32(secret).expect("base32");
    let totp = totp_rs::Builder::new().with_secret(secret).build().expect("a secret");
    let fill = format!("document.getElementById('code').value = '{}'", totp.generate_current());
    press(window, &fill, "confirm-factor", "[data-test=recovery-codes]").await;
    let codes = window.ask("document.getElementById('recovery-codes').textContent").await;
    codes.as_str().expect("codes").split_whitespace().map(str::to_owned).collect()
}

/// Switches a second factor on; the recovery codes.
pub(crate) async fn switch_factor_on(window: &Window, base: &str) -> Vec<String> {
    begin_factor(window, base).await;
    confirm_factor(window).await
}

/// Gives name and password of an account with a second factor: the code is asked for.
pub(crate) async fn begin_login(window: &Window, base: &str) {
    window.visit(&format!("{base}/login")).await;
    let fill =
        "document.getElementById('name').value = 'admin'; document.getElementById('password').value = 'correct horse'";
    press(window, fill, "login", "[data-test=login-code]").await;
}
