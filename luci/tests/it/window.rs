//! A true Chromium on this machine, headless, whose width, theme, language and script are changed without opening another.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;

use base64::Engine as _;
use luci::language::Language;
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::prelude::*;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// A browser window; it ends with its driver when dropped.
pub(crate) struct Window {
    pub(crate) driver: WebDriver,
    last_look: Mutex<Option<Look>>,
    _chromedriver: Child,
    _profile: TempDir,
}

/// How a page is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) width: u32,
    pub(crate) dark: bool,
}

impl Look {
    pub(crate) fn name(self) -> String {
        format!("{}-{}", self.width, if self.dark { "dark" } else { "light" })
    }
}

impl Window {
    /// Opens a window. Chromium and chromedriver must be installed (`cargo xtask setup`).
    pub(crate) async fn open() -> Self {
        let profile = tempfile::tempdir().expect("folder");
        let (chromedriver, port) = driver().await;
        let mut capabilities = DesiredCapabilities::chrome();
        for argument in [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ] {
            capabilities.add_arg(argument).expect("argument");
        }
        let folder = profile.path().join("profile");
        capabilities.add_arg(&format!("--user-data-dir={}", folder.display())).expect("argument");
        capabilities.accept_insecure_certs(true).expect("capability");
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), capabilities).await.expect("a window");
        Self { driver, last_look: Mutex::new(None), _chromedriver: chromedriver, _profile: profile }
    }

    async fn tell(&self, method: &str, params: Value) -> Value {
        self.driver.cdp().send_raw(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Which language the browser asks for from now on.
    pub(crate) async fn accept_language(&self, tag: &str) {
        self.tell("Network.enable", json!({})).await;
        self.tell("Network.setExtraHTTPHeaders", json!({"headers": {"Accept-Language": tag}})).await;
    }

    /// Whether pages may run scripts from now on.
    pub(crate) async fn allow_script(&self, allowed: bool) {
        self.tell("Emulation.setScriptExecutionDisabled", json!({"value": !allowed})).await;
    }

    /// Width and theme of the page that is open, and of all to come. What is so already is not said again: it lays the page
    /// out anew.
    pub(crate) async fn look(&self, look: Look) {
        let last = self.last_look.lock().expect("lock").replace(look);
        if last.is_none_or(|last| last.width != look.width) {
            let size = json!({"width": look.width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
            self.tell("Emulation.setDeviceMetricsOverride", size).await;
        }
        if last.is_none_or(|last| last.dark != look.dark) {
            let theme = if look.dark { "dark" } else { "light" };
            let features = json!({"features": [{"name": "prefers-color-scheme", "value": theme}]});
            self.tell("Emulation.setEmulatedMedia", features).await;
        }
    }

    pub(crate) fn last_look(&self) -> Option<Look> {
        *self.last_look.lock().expect("lock")
    }

    pub(crate) async fn visit(&self, url: &str) {
        self.driver.goto(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// What a script says of the page; runs also where the page's own may not.
    pub(crate) async fn ask(&self, script: &str) -> Value {
        let params = json!({"expression": script, "awaitPromise": true, "returnByValue": true});
        let said = self.tell("Runtime.evaluate", params).await;
        assert!(said.get("exceptionDetails").is_none(), "{said}");
        said["result"]["value"].clone()
    }

    /// What is wrong with the words and the width of the page, which is to be in this language.
    pub(crate) async fn findings(&self, language: Language, script: bool) -> Vec<String> {
        said(&self.ask(&format!("{INSPECT}('{}', {script})", language.tag())).await)
    }

    /// A picture of the whole page.
    pub(crate) async fn picture(&self, to: &Path) {
        let params = json!({"format": "png", "captureBeyondViewport": true, "optimizeForSpeed": true});
        let said = self.tell("Page.captureScreenshot", params).await;
        let bytes = base64::engine::general_purpose::STANDARD.decode(said["data"].as_str().expect("a picture"));
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("the folder of pictures");
        std::fs::write(to, bytes.expect("base64")).expect("the picture is written");
    }
}

/// What is wrong with a page, by a script that looks at it: words without a translation, places that were not filled, English
/// in another language, what is wider than the window, and a page that does not say that nothing on it moves.
const INSPECT: &str = r#"((wanted, script) => {
  const found = [];
  const lang = document.documentElement.lang;
  if (lang !== wanted) found.push("in the wrong language: " + lang);
  if (!script && document.body.dataset.live !== undefined && !document.querySelector("[id=link-state] noscript")) found.push("does not say that it is not live");
  for (const e of document.querySelectorAll("[data-missing]")) found.push("not in the catalogue: " + e.textContent);
  const text = document.body.innerText;
  for (const place of text.match(/\{~?\w*\}/g) || []) found.push("a place that is not filled: " + place);
  if (lang !== "en") for (const e of document.querySelectorAll("body span[lang=en]"))
    if (!e.closest("[data-given]")) found.push("in English: " + e.textContent);
  const wide = document.documentElement.scrollWidth - window.innerWidth;
  if (wide > 0) {
    const out = [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > window.innerWidth + 1 && !e.closest(".scroll"));
    found.push(`${wide} px wider than the window: ` + out.slice(-2).map((e) => e.tagName + "." + e.className + " " + e.textContent.trim().slice(0, 40)).join(" | "));
  }
  return found;
})"#;

/// The texts of a list that a script said.
pub(crate) fn said(value: &Value) -> Vec<String> {
    let all = value.as_array().expect("the script answers with a list");
    all.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect()
}

/// How often a driver is started anew that could not keep the port it chose: it takes one address after the other.
const STARTS: usize = 5;

/// A driver, and the port on which it listens.
async fn driver() -> (Child, u16) {
    for _ in 0..STARTS {
        let mut chromedriver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver starts; `cargo xtask setup` installs it");
        if let Some(port) = port_of(&mut chromedriver).await {
            return (chromedriver, port);
        }
    }
    panic!("chromedriver ended {STARTS} times without a word of its port");
}

/// The port that the driver chose; `None`: it has ended.
async fn port_of(chromedriver: &mut Child) -> Option<u16> {
    let mut lines = BufReader::new(chromedriver.stdout.take().expect("piped")).lines();
    while let Some(line) = lines.next_line().await.expect("text") {
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            return Some(port.trim_end_matches('.').parse().expect("a port"));
        }
    }
    None
}

/// axe-core, which judges a page by the rules of WCAG. It is fetched, not kept: it has a licence of its own.
pub(crate) fn axe_core() -> String {
    let path = std::env::var_os("AXE_CORE").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/axe-core/package/axe.min.js")),
        PathBuf::from,
    );
    std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; `cargo xtask setup` fetches it", path.display()))
}
