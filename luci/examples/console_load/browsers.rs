//! Browsers: each has a session and a connection of its own, opens a page, and reads the stream of updates that the page names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures_util::StreamExt as _;
use reqwest::Client;
use tokio::sync::mpsc;

/// A browser that opens pages.
#[derive(Clone)]
pub(crate) struct Browser {
    client: Client,
    root: String,
    cookie: String,
}

/// When marks were sent, and how long each took to reach a browser.
#[derive(Clone, Default)]
pub(crate) struct Marks {
    sent: Arc<Mutex<HashMap<String, Instant>>>,
    pub(crate) seen: Arc<Mutex<Vec<Duration>>>,
}

impl Marks {
    /// A mark is sent now.
    pub(crate) fn send(&self, mark: &str) {
        self.sent.lock().expect("lock").insert(mark.to_owned(), Instant::now());
    }

    fn see(&self, mark: &str) {
        let sent = self.sent.lock().expect("lock").get(mark).copied();
        if let Some(sent) = sent {
            self.seen.lock().expect("lock").push(sent.elapsed());
        }
    }

    /// The times so far, sorted, and none left.
    pub(crate) fn take(&self) -> Vec<Duration> {
        let mut times = std::mem::take(&mut *self.seen.lock().expect("lock"));
        times.sort();
        times
    }
}

impl Browser {
    /// A browser with this session; `config` trusts luci's certificate.
    pub(crate) fn new(config: rustls::ClientConfig, root: &str, cookie: &str) -> Result<Self> {
        let client = Client::builder()
            .tls_backend_preconfigured(config)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { client, root: root.to_owned(), cookie: cookie.to_owned() })
    }

    fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(format!("{}{path}", self.root)).header("cookie", format!("__Host-luci={}", self.cookie))
    }

    /// A page: status, text, and the time until its last byte is here.
    pub(crate) async fn page(&self, path: &str) -> Result<(u16, String, Duration)> {
        let began = Instant::now();
        let answer = self.get(path).send().await.with_context(|| format!("GET {path}"))?;
        let status = answer.status().as_u16();
        let text = answer.text().await.with_context(|| format!("reading {path}"))?;
        Ok((status, text, began.elapsed()))
    }

    /// Opens a page and its stream, and reads until the program ends. Says once on `ready` that the stream has begun.
    pub(crate) async fn watch(self, path: String, marks: Marks, ready: mpsc::Sender<()>) -> Result<()> {
        let (status, text, _) = self.page(&path).await?;
        let live = text.split_once("data-live=\"").and_then(|(_, rest)| rest.split('"').next());
        let Some(live) = live else { bail!("{path} ({status}) names no stream") };
        let answer = self.get(&live.replace("&amp;", "&")).header("accept", "text/event-stream").send().await?;
        if !answer.status().is_success() {
            bail!("{live}: {}", answer.status());
        }
        let mut parts = answer.bytes_stream();
        let mut line = Vec::new();
        let mut begun = false;
        let mut last = String::new();
        while let Some(part) = parts.next().await {
            line.extend_from_slice(&part?);
            while let Some(end) = line.iter().position(|byte| *byte == b'\n') {
                let text: Vec<u8> = line.drain(..=end).collect();
                if !std::mem::replace(&mut begun, true) {
                    let _ = ready.send(()).await;
                }
                if let Some(mark) = newest_mark(&text).filter(|mark| *mark != last) {
                    marks.see(&mark);
                    last = mark;
                }
            }
        }
        bail!("the stream of {path} ended")
    }
}

/// The first mark in a line of the stream: events are listed newest first.
fn newest_mark(line: &[u8]) -> Option<String> {
    const SIGN: &[u8] = b"mark-";
    let at = line.windows(SIGN.len()).position(|window| window == SIGN)?;
    let digits = line[at + SIGN.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(format!("mark-{}", digits.map(|byte| char::from(*byte)).collect::<String>()))
}
