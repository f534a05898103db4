//! What the handle, the command line and the BMCs say to the keeper: one request, one reply, each a line of JSON,
//! over the unix socket `control` in the lab's folder.
//!
//! Parsing and framing only; the keeper carries requests out, the handle sends them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::plan::Nic;

/// What handle and keeper must agree on; the `lab` binary may be older than the program that uses the library.
const AGREED: [&str; 13] = [
    include_str!("cgroup.rs"),
    include_str!("disk.rs"),
    include_str!("netns.rs"),
    include_str!("options.rs"),
    include_str!("plan.rs"),
    include_str!("protocol.rs"),
    include_str!("inside/bmc.rs"),
    include_str!("inside/enter.rs"),
    include_str!("inside/init.rs"),
    include_str!("inside/keeper.rs"),
    include_str!("inside/power.rs"),
    include_str!("inside/stage.rs"),
    include_str!("inside/switch.rs"),
];

/// Tells builds apart whose keepers behave differently.
pub(crate) fn fingerprint() -> String {
    let mut hasher = DefaultHasher::new();
    AGREED.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// A power cut waits for every process of a host to be gone; nothing the keeper does takes longer.
const REPLY_LIMIT: Duration = Duration::from_secs(30);

/// How a host's cable is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cut {
    /// The cable is pulled: the host sees its carrier go.
    Carrier,
    /// Frames vanish in both directions, the carrier stays.
    Silent,
}

/// How a BMC behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BmcMode {
    /// Does what it is told.
    Works,
    /// Answers nothing.
    Silent,
    /// Accepts power commands and reports them done, but the host's power does not change.
    Lies,
}

/// What the keeper can be asked to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    PowerOn { host: usize },
    PowerOff { host: usize },
    Cycle { host: usize },
    Freeze { host: usize },
    Thaw { host: usize },
    Hang { host: usize },
    Unhang { host: usize },
    Cut { host: usize, nics: Vec<Nic>, how: Option<Cut> },
    Partition { groups: Vec<Vec<usize>>, nics: Vec<Nic> },
    Loss { host: usize, nic: Nic, percent: u8 },
    Heal,
    Restore { host: usize },
    Wipe { host: usize },
    Bmc { host: usize, mode: BmcMode },
    Chassis { host: usize, words: Vec<String> },
    Note { text: String },
    State,
    Down,
}

/// What the keeper answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// Done; the moment it took effect (for a power cut: when the last frame could leave), seconds since 1970.
    Done {
        at: f64,
    },
    State(LabState),
    Text(String),
    Failed(String),
}

/// State of one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostState {
    /// Number of the host.
    pub host: usize,
    /// Has power.
    pub on: bool,
    /// Process id of its pid 1, as the machine sees it.
    pub init: Option<u32>,
    /// Frozen or hung.
    pub frozen: bool,
    /// Cut interfaces.
    pub cuts: Vec<(Nic, Cut)>,
    /// Times it booted.
    pub boots: u32,
    /// How its BMC behaves.
    pub bmc: BmcMode,
}

/// State of a whole lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabState {
    /// Name of the lab.
    pub name: String,
    /// Its hosts.
    pub hosts: Vec<HostState>,
}

/// Sends one request and waits for its reply.
pub(crate) fn ask(folder: &Path, request: &Request) -> Result<Reply> {
    let path = folder.join("control");
    let mut stream = UnixStream::connect(&path)
        .with_context(|| format!("the lab's keeper does not answer at {}; the lab is down", path.display()))?;
    stream.set_read_timeout(Some(REPLY_LIMIT))?;
    send(&mut stream, request)?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).with_context(|| format!("no reply from the keeper to {request:?}"))?;
    match serde_json::from_str(&line).with_context(|| format!("the keeper ended while doing {request:?}"))? {
        Reply::Failed(why) => bail!("{why}"),
        reply => Ok(reply),
    }
}

/// Reads one request; `None` when the other side said nothing.
pub(crate) fn receive(stream: &UnixStream) -> Result<Option<Request>> {
    stream.set_read_timeout(Some(REPLY_LIMIT))?;
    let mut line = String::new();
    if BufReader::new(stream).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line).with_context(|| format!("not a request: {line}"))?))
}

/// Writes one line of JSON.
pub(crate) fn send(stream: &mut UnixStream, what: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_string(what)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    Ok(())
}
