//! What a person does at a browser: click, type, choose, look. Used by the browser tests on top of `chromium`.
//!
//! Things on a page are named by their `data-test` or their id. Pages are redrawn while they are looked at, so every step is
//! tried again until it succeeds or its time is over. Nothing here talks to luci except through the window.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use thirtyfour::prelude::*;

use crate::chromium::Chromium;

/// How long a page may take to show what the next step needs.
pub const SOON: Duration = Duration::from_secs(60);

/// Width and height of a phone's window.
const PHONE: (u32, u32) = (390, 844);

/// How often an address is opened before it is given up.
const VISITS: usize = 5;

/// After so long without a new page, a person clicks a link again.
const MISSED: Duration = Duration::from_secs(5);

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(30);

/// Looks until there is a value; fails with `what` when the time is over.
pub async fn until<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = look().await {
            return Ok(value);
        }
        if start.elapsed() >= limit {
            bail!("waited {limit:?} in vain for: {what}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The selector of what bears this `data-test`.
pub fn test(name: &str) -> String {
    format!("[data-test=\"{name}\"]")
}

impl Chromium {
    /// Opens an address by typing it into the address bar; again, where Chromium gave up because an interface of the machine
    /// came or went at that moment.
    pub async fn visit(&self, url: &str) -> Result<()> {
        for _ in 0..VISITS {
            self.driver.goto(url).await.with_context(|| format!("{url} cannot be opened"))?;
            if !self.page_text().await.contains("ERR_NETWORK_CHANGED") {
                return Ok(());
            }
        }
        bail!("{url} cannot be opened: the interfaces of the machine do not come to rest")
    }

    async fn find(&self, css: &str) -> Option<WebElement> {
        self.driver.find(By::Css(css)).await.ok()
    }

    /// Waits until the page has something.
    pub async fn wait(&self, css: &str) -> Result<WebElement> {
        self.wait_within(css, SOON).await
    }

    /// The same with a limit of one's own.
    pub async fn wait_within(&self, css: &str, limit: Duration) -> Result<WebElement> {
        until(&format!("{css} on the page"), limit, async || self.find(css).await).await
    }

    /// Whether the page has something now.
    pub async fn has(&self, css: &str) -> bool {
        self.find(css).await.is_some()
    }

    /// Text that a person sees there; `None` when it is not there.
    pub async fn text_at(&self, css: &str) -> Option<String> {
        self.find(css).await?.text().await.ok()
    }

    /// Waits until something can be read there.
    pub async fn read(&self, css: &str) -> Result<String> {
        until(&format!("{css} to be read"), SOON, async || self.text_at(css).await).await
    }

    /// Everything that a person can read on the page.
    pub async fn page_text(&self) -> String {
        self.text_at("body").await.unwrap_or_else(|| "the page cannot be read".to_owned())
    }

    /// Waits until a text stands somewhere on the page.
    pub async fn wait_text(&self, text: &str) -> Result<()> {
        until(&format!("{text:?} on the page"), SOON, async || self.page_text().await.contains(text).then_some(()))
            .await
    }

    /// Clicks something that stays on the page.
    pub async fn click(&self, css: &str) -> Result<()> {
        until(&format!("a click on {css}"), SOON, async || self.find(css).await?.click().await.ok()).await
    }

    /// Clicks a link or a button and waits for the page that follows.
    pub async fn go(&self, css: &str) -> Result<()> {
        let page = self.wait("html").await?;
        let link = self.wait(css).await?.tag_name().await.is_ok_and(|tag| tag == "a");
        self.click(css).await?;
        let mut clicked = Instant::now();
        until(&format!("the page that follows a click on {css}"), SOON, async || {
            if page.tag_name().await.is_err() {
                return Some(());
            }
            // What stands above it grew at that moment, and the click went beside it.
            if link && clicked.elapsed() >= MISSED {
                clicked = Instant::now();
                let _ = self.find(css).await?.click().await;
            }
            None
        })
        .await?;
        self.wait("main").await?;
        Ok(())
    }

    /// Like `go`, for a button whose success is told in a green line.
    pub async fn go_well(&self, css: &str) -> Result<()> {
        self.go(css).await?;
        if let Some(text) = self.text_at("[role=alert]").await {
            bail!("a click on {css} was refused: {text}");
        }
        Ok(())
    }

    /// Types into an empty or filled field.
    pub async fn fill(&self, css: &str, text: &str) -> Result<()> {
        until(&format!("typing into {css}"), SOON, async || {
            let field = self.find(css).await?;
            field.clear().await.ok()?;
            field.send_keys(text).await.ok()?;
            (field.prop("value").await.ok()?? == text).then_some(())
        })
        .await
    }

    /// Chooses the entry of a list whose value is this.
    pub async fn choose(&self, css: &str, value: &str) -> Result<()> {
        until(&format!("{value:?} in the list {css}"), SOON, async || {
            for option in self.find(css).await?.find_all(By::Tag("option")).await.ok()? {
                if option.prop("value").await.ok()?.as_deref() == Some(value) {
                    return option.click().await.ok();
                }
            }
            None
        })
        .await
    }

    /// Ticks a box or takes its tick away.
    pub async fn tick(&self, css: &str, wanted: bool) -> Result<()> {
        until(&format!("the tick {css}"), SOON, async || {
            let field = self.find(css).await?;
            if field.is_selected().await.ok()? != wanted {
                field.click().await.ok()?;
            }
            (field.is_selected().await.ok()? == wanted).then_some(())
        })
        .await
    }

    /// What a log-in would show of the page that is open now: its path.
    pub async fn path(&self) -> Result<String> {
        Ok(self.driver.current_url().await?.path().to_owned())
    }

    /// A picture of the window as it is and one as a phone shows it.
    pub async fn pictures(&self, name: &str) -> Result<()> {
        self.picture(name).await?;
        let tools = self.driver.cdp();
        tools.emulation().set_device_metrics_override(PHONE.0, PHONE.1, 1.0, true).await?;
        self.picture(&format!("{name}-phone")).await?;
        let wide = self.driver.execute("return document.documentElement.scrollWidth", Vec::new()).await?;
        tools.emulation().clear_device_metrics_override().await?;
        let width = wide.json().as_u64().unwrap_or(0);
        if width > PHONE.0.into() {
            self.note_too_wide(format!("{name} is {width} pixels wide"));
        }
        Ok(())
    }
}
