//! Real Chromium inside the lab, driven over WebDriver.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use lab::{Forward, Lab, Place, Running, wait_for};
use tempfile::TempDir;
use thirtyfour::prelude::*;

/// chromedriver's port in the client's place.
const DRIVER_PORT: u16 = 9515;

/// Whether the browser runs the scripts of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    On,
    Off,
}

/// A Chromium with its driver in the client's place; ends when dropped.
pub struct Chromium {
    pub driver: WebDriver,
    _chromedriver: Running,
    _forward: Forward,
    _profile: TempDir,
    screenshots: PathBuf,
    too_wide: Mutex<Vec<String>>,
}

impl Chromium {
    /// Opens a window of this width and height. Screenshots go to `screenshots`.
    pub async fn open(lab: &Lab, (width, height): (u32, u32), script: Script, screenshots: &Path) -> Result<Self> {
        std::fs::create_dir_all(screenshots)?;
        let profile = tempfile::Builder::new().prefix("chromium").tempdir()?;
        let log = profile.path().join("chromedriver.log");
        let port = format!("--port={DRIVER_PORT}");
        let chromedriver = lab.spawn(Place::Client, &["/usr/bin/chromedriver", &port], &log)?;
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, DRIVER_PORT));
        let forward = lab.forward(0, Place::Client, target)?;
        wait_for("chromedriver", Duration::from_secs(60), || lab.reaches_driver(DRIVER_PORT).then_some(()))?;
        let mut capabilities = DesiredCapabilities::chrome();
        for argument in [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--ignore-certificate-errors",
        ] {
            capabilities.add_arg(argument)?;
        }
        capabilities.add_arg(&format!("--window-size={width},{height}"))?;
        capabilities.add_arg(&format!("--user-data-dir={}", profile.path().join("profile").display()))?;
        capabilities.accept_insecure_certs(true)?;
        if script == Script::Off {
            let blocked = serde_json::json!({"profile.managed_default_content_settings.javascript": 2});
            capabilities.add_experimental_option("prefs", blocked)?;
        }
        let driver = WebDriver::new(format!("http://{}", forward.local()), capabilities)
            .await
            .context("chromedriver does not open a window")?;
        Ok(Self {
            driver,
            _chromedriver: chromedriver,
            _forward: forward,
            _profile: profile,
            screenshots: screenshots.to_owned(),
            too_wide: Mutex::default(),
        })
    }

    /// Pages that do not fit a phone, as far as pictures were taken.
    pub fn too_wide(&self) -> Vec<String> {
        self.too_wide.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn note_too_wide(&self, page: String) {
        self.too_wide.lock().unwrap_or_else(PoisonError::into_inner).push(page);
    }

    /// A picture of the window, named.
    pub async fn picture(&self, name: &str) -> Result<()> {
        let path = self.screenshots.join(format!("{name}.png"));
        self.driver.screenshot(&path).await?;
        Ok(())
    }
}

/// Whether chromedriver listens in the client's place.
trait ReachesDriver {
    fn reaches_driver(&self, port: u16) -> bool;
}

impl ReachesDriver for Lab {
    fn reaches_driver(&self, port: u16) -> bool {
        self.sh(Place::Client, &format!("curl -s -o /dev/null http://127.0.0.1:{port}/status"))
            .is_ok_and(|said| said.ok())
    }
}
