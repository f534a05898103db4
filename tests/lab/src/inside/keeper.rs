//! The keeper of a lab: holds its namespaces, switches its hosts, answers requests, and takes everything down in the end.
//!
//! Started by the handle that creates a lab. An owned keeper reads its standard input, which nobody writes to: its end is
//! the end of the owner, also of a killed one. Every process of the lab dies with the keeper, and with them the namespaces.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, bail};

use super::bmc;
use super::power::Power;
use super::switch::{Switch, path_of};
use crate::options::LabOptions;
use crate::protocol::{self, BmcMode, Cut, HostState, LabState, Reply, Request};
use crate::wait::epoch_s;
use crate::{cgroup, plan, process, sweep};

/// What all threads of the keeper share.
pub(super) struct Shared {
    pub(super) folder: PathBuf,
    pub(super) group: PathBuf,
    pub(super) switch: Switch,
    events: Mutex<File>,
}

impl Shared {
    /// A line in events.log.
    pub(super) fn event(&self, what: &str) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(events, "{:.4} {what}", epoch_s(SystemTime::now()));
    }
}

struct Keeper {
    name: String,
    shared: Arc<Shared>,
    hosts: Vec<Arc<Power>>,
    bmcs: Mutex<Vec<BmcMode>>,
    /// Taken by whoever ends the lab, and kept: the lab ends once.
    ending: Mutex<()>,
}

/// Runs as the keeper of the lab prepared in `folder`.
pub(super) fn main(folder: &Path, owned: bool) -> Result<i32> {
    rustix::process::setsid().context("cannot leave the owner's session")?;
    process::write_identity(&folder.join("keeper"), std::process::id())?;
    let (keeper, listener, _bmcs) = match set_up(folder) {
        Ok(done) => done,
        Err(e) => {
            say(&format!("failed {}", format!("{e:#}").replace('\n', " / ")))?;
            return Ok(1);
        }
    };
    say(&format!("ready {}", protocol::fingerprint()))?;
    rustix::stdio::dup2_stdout(std::io::stderr())?;
    if owned {
        let keeper = Arc::clone(&keeper);
        std::thread::spawn(move || {
            let mut nothing = Vec::new();
            let _ = std::io::stdin().lock().read_to_end(&mut nothing);
            keeper.end();
        });
    }
    // The BMCs belong to this thread and would die with it, hence it serves for ever.
    for stream in listener.incoming() {
        let keeper = Arc::clone(&keeper);
        let stream = stream.context("the control socket failed")?;
        std::thread::spawn(move || keeper.serve(stream));
    }
    Ok(0)
}

fn say(line: &str) -> Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}

fn set_up(folder: &Path) -> Result<(Arc<Keeper>, UnixListener, Vec<std::process::Child>)> {
    let options: LabOptions = serde_json::from_slice(&fs::read(folder.join("lab.json"))?)?;
    let name = options.name.clone().context("a lab has a name")?;
    let group = cgroup::lab_group(&name)?;
    fs::write(folder.join("cgroup"), group.as_os_str().as_encoded_bytes())?;
    fs::create_dir(&group).with_context(|| format!("cannot make the control group {}", group.display()))?;
    for place in ["client", "luci", "bmc"] {
        fs::create_dir(group.join(place))?;
    }
    let shared = Arc::new(Shared {
        folder: folder.to_owned(),
        group,
        switch: Switch::create(options.hosts)?,
        events: Mutex::new(File::options().create(true).append(true).open(folder.join("events.log"))?),
    });
    publish_namespaces(&shared)?;
    let mut children = Vec::new();
    if options.bmcs {
        for host in 1..=options.hosts {
            children.push(bmc::start(folder, host)?);
        }
    }
    let hosts = (1..=options.hosts).map(|host| Power::new(host, &shared).map(Arc::new)).collect::<Result<Vec<_>>>()?;
    let keeper = Arc::new(Keeper {
        name,
        bmcs: Mutex::new(vec![BmcMode::Works; options.hosts]),
        shared,
        hosts,
        ending: Mutex::new(()),
    });
    let listener = UnixListener::bind(folder.join("control")).context("cannot open the control socket")?;
    if options.powered {
        keeper.power_all_on()?;
    }
    for (child, host) in children.iter_mut().zip(1..) {
        bmc::wait_listening(child, host)?;
    }
    Ok((keeper, listener, children))
}

/// The namespaces of switch and places as links that `nsenter --net=` can open while the keeper lives.
fn publish_namespaces(shared: &Shared) -> Result<()> {
    let net = shared.folder.join("net");
    fs::create_dir(&net)?;
    let switch = &shared.switch;
    for (name, file) in
        [("switch", &switch.switch), ("client", &switch.client), ("luci", &switch.luci), ("bmc", &switch.bmc)]
    {
        symlink(path_of(file), net.join(name))?;
    }
    Ok(())
}

impl Keeper {
    fn host(&self, host: usize) -> Result<&Arc<Power>> {
        host.checked_sub(1)
            .and_then(|index| self.hosts.get(index))
            .ok_or_else(|| anyhow!("there is no host {host}; this lab has {} hosts", self.hosts.len()))
    }

    fn power_all_on(&self) -> Result<()> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = self.hosts.iter().map(|power| scope.spawn(|| power.on(&self.shared))).collect();
            for thread in threads {
                thread.join().map_err(|_| anyhow!("a thread that powers a host on panicked"))??;
            }
            Ok(())
        })
    }

    fn serve(&self, mut stream: UnixStream) {
        let reply = match protocol::receive(&stream) {
            Ok(None) => return,
            Ok(Some(Request::Down)) => {
                self.end_with(|| {
                    let _ = protocol::send(&mut stream, &Reply::Done { at: epoch_s(SystemTime::now()) });
                });
                return;
            }
            Ok(Some(request)) => self.carry_out(&request).unwrap_or_else(|e| Reply::Failed(format!("{e:#}"))),
            Err(e) => Reply::Failed(format!("{e:#}")),
        };
        // The asker may be gone by now; what was asked is done all the same.
        let _ = protocol::send(&mut stream, &reply);
    }

    fn carry_out(&self, request: &Request) -> Result<Reply> {
        let shared = &self.shared;
        match request {
            Request::PowerOn { host } => return Ok(Reply::Done { at: self.host(*host)?.on(shared)? }),
            Request::PowerOff { host } => return Ok(Reply::Done { at: self.host(*host)?.off(shared)? }),
            Request::Cycle { host } => {
                let at = self.host(*host)?.off(shared)?;
                self.host(*host)?.on(shared)?;
                return Ok(Reply::Done { at });
            }
            Request::Freeze { host } => self.host(*host)?.freeze(true)?,
            Request::Thaw { host } => self.host(*host)?.freeze(false)?,
            Request::Hang { host } => {
                self.host(*host)?.freeze(true)?;
                shared.switch.hang(*host, true)?;
            }
            Request::Unhang { host } => {
                shared.switch.hang(*host, false)?;
                self.host(*host)?.freeze(false)?;
            }
            Request::Cut { host, nics, how } => shared.switch.cut(*host, nics, *how, self.host(*host)?.is_on())?,
            Request::Partition { groups, nics } => shared.switch.partition(groups.clone(), nics.clone())?,
            Request::Loss { host, nic, percent } => shared.switch.loss(self.host(*host)?.host, *nic, *percent)?,
            Request::Heal => self.heal()?,
            Request::Restore { host } => self.restore(*host)?,
            Request::Wipe { host } => self.wipe(*host)?,
            Request::Bmc { host, mode } => self.set_bmc(*host, *mode)?,
            Request::Chassis { host, words } => return self.chassis(*host, words).map(Reply::Text),
            Request::Note { .. } => {}
            Request::State => return Ok(Reply::State(self.state())),
            Request::Down => bail!("taken care of by the caller"),
        }
        let at = epoch_s(SystemTime::now());
        shared.event(&describe(request));
        Ok(Reply::Done { at })
    }

    fn heal(&self) -> Result<()> {
        for host in self.shared.switch.heal()? {
            self.shared.switch.cut(host, &plan::Nic::ALL, None, self.host(host)?.is_on())?;
        }
        Ok(())
    }

    fn restore(&self, host: usize) -> Result<()> {
        let power = self.host(host)?;
        self.shared.switch.cut(host, &plan::Nic::ALL, None, power.is_on())?;
        self.shared.switch.hang(host, false)?;
        self.set_bmc(host, BmcMode::Works)?;
        if power.is_frozen() {
            power.freeze(false)?;
        }
        power.on(&self.shared)?;
        Ok(())
    }

    fn wipe(&self, host: usize) -> Result<()> {
        let power = self.host(host)?;
        if power.is_on() {
            bail!("{} has power; its disk is in use", plan::host_name(host));
        }
        let place = self.shared.folder.join("hosts").join(plan::host_name(host));
        fs::remove_dir_all(place.join("disk"))?;
        let _ = fs::remove_dir_all(place.join("work"));
        crate::disk::lay_out(&self.shared.folder, host)
    }

    fn set_bmc(&self, host: usize, mode: BmcMode) -> Result<()> {
        self.host(host)?;
        self.shared.switch.silence_bmc(host, mode == BmcMode::Silent)?;
        self.bmcs.lock().unwrap_or_else(PoisonError::into_inner)[host - 1] = mode;
        Ok(())
    }

    /// What the BMC's emulator asks for; the answers are lines it reads.
    fn chassis(&self, host: usize, words: &[String]) -> Result<String> {
        let power = self.host(host)?;
        let words: Vec<&str> = words.iter().map(|word| word.trim_matches('"')).collect();
        let lies = self.bmcs.lock().unwrap_or_else(PoisonError::into_inner)[host - 1] == BmcMode::Lies;
        if words.first() == Some(&"set") {
            self.shared.event(&format!("{} bmc: {}", plan::host_name(host), words.join(" ")));
        }
        match words[..] {
            ["get", "power"] => return Ok(format!("power: {}\n", u8::from(power.is_on()))),
            ["get", "boot"] => return Ok("boot: default\n".into()),
            ["set", "power" | "reset", ..] if lies => {}
            ["set", "power", "1"] => drop(power.on(&self.shared)?),
            ["set", "power", _] => drop(power.off(&self.shared)?),
            ["set", "reset", ..] => {
                power.off(&self.shared)?;
                power.on(&self.shared)?;
            }
            ["set", "shutdown" | "boot" | "identify", ..] => {}
            _ => bail!("a BMC asked for {words:?}"),
        }
        Ok(String::new())
    }

    fn state(&self) -> LabState {
        let bmcs = self.bmcs.lock().unwrap_or_else(PoisonError::into_inner);
        let hosts = self.hosts.iter().zip(bmcs.iter()).map(|(power, bmc)| HostState {
            host: power.host,
            on: power.is_on(),
            init: power.init(),
            frozen: power.is_frozen(),
            cuts: self.shared.switch.cuts_of(power.host),
            boots: power.boots(),
            bmc: *bmc,
        });
        LabState { name: self.name.clone(), hosts: hosts.collect() }
    }

    fn end(&self) {
        self.end_with(|| {});
    }

    /// Takes the lab down, tells who asked, and ends the keeper. Whoever comes second waits for that end.
    fn end_with(&self, tell: impl FnOnce()) {
        let _ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        std::thread::scope(|scope| {
            for power in &self.hosts {
                scope.spawn(|| power.off(&self.shared).map_err(|e| super::note(&format!("{e:#}"))));
            }
        });
        let removed = cgroup::kill(&self.shared.group)
            .and_then(|()| keep_logs(&self.shared.folder, &self.name))
            .and_then(|()| cgroup::remove(&self.shared.group))
            .and_then(|()| sweep::remove_folder(&self.shared.folder));
        if let Err(e) = &removed {
            super::note(&format!("{e:#}"));
        }
        tell();
        std::process::exit(i32::from(removed.is_err()));
    }
}

/// Keeps what hosts wrote to their logs, if `$LAB_KEEP_LOGS` names a folder for that.
fn keep_logs(folder: &Path, name: &str) -> Result<()> {
    let Some(target) = std::env::var_os("LAB_KEEP_LOGS").map(|base| PathBuf::from(base).join(name)) else {
        return Ok(());
    };
    fs::create_dir_all(&target)?;
    let _ = fs::copy(folder.join("events.log"), target.join("events.log"));
    let _ = fs::copy(folder.join("keeper.log"), target.join("keeper.log"));
    for host in fs::read_dir(folder.join("hosts"))?.flatten() {
        let status = std::process::Command::new("cp")
            .args(["-a", "-T"])
            .arg(host.path().join("disk/var/log"))
            .arg(target.join(host.file_name()))
            .stderr(std::process::Stdio::null())
            .status()?;
        if !status.success() {
            super::note(&format!("{}: it has no logs", host.path().display()));
        }
    }
    Ok(())
}

fn describe(request: &Request) -> String {
    let name = |host: &usize| plan::host_name(*host);
    let devices = |nics: &[plan::Nic]| nics.iter().map(|nic| nic.device()).collect::<Vec<_>>().join(" ");
    match request {
        Request::Freeze { host } => format!("{} frozen", name(host)),
        Request::Thaw { host } => format!("{} thawed", name(host)),
        Request::Hang { host } => format!("{} hung", name(host)),
        Request::Unhang { host } => format!("{} no longer hung", name(host)),
        Request::Cut { host, nics, how: Some(Cut::Carrier) } => {
            format!("{} cable pulled: {}", name(host), devices(nics))
        }
        Request::Cut { host, nics, how: Some(Cut::Silent) } => format!("{} silenced: {}", name(host), devices(nics)),
        Request::Cut { host, nics, how: None } => format!("{} cable mended: {}", name(host), devices(nics)),
        Request::Partition { groups, nics } => format!("partition {groups:?} on {}", devices(nics)),
        Request::Loss { host, nic, percent } => format!("{} loses {percent} % on {}", name(host), nic.device()),
        Request::Restore { host } => format!("{} restored", name(host)),
        Request::Wipe { host } => format!("{} disk wiped", name(host)),
        Request::Bmc { host, mode } => format!("{} bmc {mode:?}", name(host)),
        Request::Note { text } => text.clone(),
        Request::Heal => "network healed".into(),
        other => format!("{other:?}"),
    }
}
