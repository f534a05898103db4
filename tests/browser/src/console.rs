//! A client of luci's pages: fills in forms as a browser without script would. For what has to be there before a test or
//! the demo begins.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a task of luci may take.
const TASK: Duration = Duration::from_secs(120);

/// A person at the console.
pub struct Console {
    http: reqwest::Client,
    base: String,
}

/// What came back.
pub struct Page {
    pub status: u16,
    /// Path after redirects.
    pub path: String,
    pub html: String,
}

impl Page {
    /// The value of the first hidden field of this name.
    pub fn hidden(&self, name: &str) -> Option<String> {
        let mark = format!("name=\"{name}\" value=\"");
        let rest = &self.html[self.html.find(&mark)? + mark.len()..];
        Some(rest[..rest.find('"')?].to_owned())
    }
}

impl Console {
    /// A browser that has luci open. The certificate is luci's own and not checked here.
    pub fn open(base: &str) -> Result<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder()
            .cookie_store(true)
            .tls_danger_accept_invalid_certs(true)
            .timeout(Duration::from_secs(20))
            .build()?;
        Ok(Self { http, base: base.to_owned() })
    }

    /// GET.
    pub async fn page(&self, path: &str) -> Result<Page> {
        let response = self.http.get(format!("{}{path}", self.base)).send().await?;
        page_of(response).await
    }

    /// Fills in the form of `form_path` (its hidden fields are kept) and sends it to `action`. A page with an error message of the
    /// form is an error here.
    pub async fn submit(&self, form_path: &str, action: &str, fields: &[(&str, &str)]) -> Result<Page> {
        let form = self.page(form_path).await?;
        if form.status >= 400 {
            bail!("{form_path} was answered {}:\n{}", form.status, text_of(&form.html));
        }
        let mut all: Vec<(String, String)> = Vec::new();
        for hidden in ["csrf", "token", "base", "next"] {
            all.extend(form.hidden(hidden).map(|value| (hidden.to_owned(), value)));
        }
        all.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let page = self.post(action, &all).await?;
        if page.status >= 400 {
            bail!("{action} was answered {}:\n{}", page.status, text_of(&page.html));
        }
        Ok(page)
    }

    /// POST of exactly these fields; whatever comes back is given.
    pub async fn post(&self, action: &str, fields: &[(&str, &str)]) -> Result<Page> {
        let response =
            self.http.post(format!("{}{action}", self.base)).header("Origin", &self.base).form(fields).send().await?;
        page_of(response).await
    }

    /// POST of these fields; the bytes of the file that comes back.
    pub async fn bytes(&self, action: &str, fields: &[(&str, &str)]) -> Result<Vec<u8>> {
        let request = self.http.post(format!("{}{action}", self.base)).header("Origin", &self.base).form(fields);
        let response = request.send().await?;
        let status = response.status();
        let bytes = response.bytes().await?;
        if !status.is_success() {
            bail!("{action} was answered {status}:\n{}", text_of(&String::from_utf8_lossy(&bytes)));
        }
        Ok(bytes.to_vec())
    }

    /// Logs in.
    pub async fn log_in(&self, name: &str, password: &str) -> Result<()> {
        self.submit("/login", "/login", &[("name", name), ("password", password)]).await?;
        Ok(())
    }

    /// The first administrator.
    pub async fn set_up(&self, token: &str, name: &str, password: &str) -> Result<()> {
        let form = format!("/setup?token={token}");
        self.submit(&form, "/setup", &[("name", name), ("password", password), ("again", password)]).await?;
        Ok(())
    }

    /// A new cluster from nodes that prove themselves with one password; waits until it is there.
    pub async fn create_cluster(&self, name: &str, nodes: &[String], password: &str) -> Result<()> {
        let mut fields: Vec<(String, String)> = vec![("name".into(), name.into()), ("same-secret".into(), "on".into())];
        for (row, node) in nodes.iter().enumerate() {
            fields.push((format!("node-{row}-name"), node.clone()));
            fields.push((format!("node-{row}-host"), node.clone()));
            fields.push((format!("node-{row}-port"), shared::api::PORT.to_string()));
            fields.push((format!("node-{row}-with"), "password".into()));
            fields.push((format!("node-{row}-secret"), password.into()));
        }
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let page = self.submit("/create-cluster", "/create-cluster", &fields).await?;
        self.see_task_through(&page.path).await
    }

    /// Confirms the fingerprints of a task when it asks, and waits for its end.
    pub async fn see_task_through(&self, path: &str) -> Result<()> {
        let end = Instant::now() + TASK;
        loop {
            let page = self.page(path).await?;
            if page.html.contains("data-test=\"task-done\"") {
                return Ok(());
            }
            if page.html.contains("data-test=\"task-failed\"") {
                bail!("the task failed:\n{}", text_of(&page.html));
            }
            if page.html.contains("data-test=\"confirm-pairing\"") {
                self.submit(path, &format!("{path}/confirm"), &[]).await?;
            }
            if Instant::now() > end {
                bail!("the task did not end:\n{}", text_of(&page.html));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Replaces the cluster.conf of a cluster by what `change` makes of it, through the page for experts.
    pub async fn change_conf(&self, cluster: &str, message: &str, change: impl Fn(&str) -> String) -> Result<()> {
        let path = format!("/clusters/{cluster}/configure/text");
        let form = self.page(&path).await?;
        let open = form.html.find("<textarea").context("the page for experts has no text")?;
        let begin = open + form.html[open..].find('>').context("the text has no begin")? + 1;
        let end = begin + form.html[begin..].find("</textarea>").context("the text has no end")?;
        let text = change(&unescape(form.html[begin..end].trim_start_matches('\n')));
        self.submit(&path, &path, &[("text", &text), ("message", message)]).await?;
        Ok(())
    }
}

async fn page_of(response: reqwest::Response) -> Result<Page> {
    let status = response.status().as_u16();
    let path = response.url().path().to_owned();
    Ok(Page { status, path, html: response.text().await? })
}

/// The words of a page, for messages.
pub fn text_of(html: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for c in html.chars() {
        match c {
            '<' => inside = true,
            '>' => inside = false,
            c if !inside => text.push(c),
            _ => {}
        }
    }
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// What a browser makes of the text inside an element.
pub fn unescape(html: &str) -> String {
    html.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#34;", "\"")
        .replace("&#60;", "<")
        .replace("&#62;", ">")
        .replace("&#39;", "'")
        .replace("&#x27;", "'")
        .replace("&#38;", "&")
        .replace("&amp;", "&")
}
