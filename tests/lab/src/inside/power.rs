//! The power of one host: on, off, and what happens when the host ends by itself.
//!
//! A thread per powered host starts the host's maker and waits for its end; it also boots the host again after reboot(2).
//! The keeper calls `on` and `off`, one at a time per host. Power off means: cables first, so that no dying host sends
//! anything; then every process; then cables and namespaces are gone, so that nothing answers for a dead host.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, bail};

use super::SELF;
use super::keeper::Shared;
use super::stage::{BOOTED, NAMESPACES_MADE, PLUGGED};
use crate::wait::epoch_s;
use crate::{cgroup, plan};

/// A process may need a moment to leave the kernel after SIGKILL.
const DEATH_LIMIT: Duration = Duration::from_secs(15);
/// A kill that came between two steps of a boot is repeated after this time.
const KILL_AGAIN: Duration = Duration::from_millis(50);

/// Exit code of a host's maker when the host called reboot(2): the kernel ends pid 1 by SIGHUP.
const REBOOTED: i32 = 128 + 1;

/// One host as the keeper holds it.
pub(super) struct Power {
    pub(super) host: usize,
    group: PathBuf,
    place: PathBuf,
    /// Held while power is switched, so that two who switch do not meet.
    switching: Mutex<()>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// A thread is there for the host.
    running: bool,
    /// The host shall have power; a host that ends while it shall is looked at for reboot(2).
    wanted: bool,
    init: Option<u32>,
    frozen: bool,
    boots: u32,
}

impl Power {
    pub(super) fn new(host: usize, lab: &Shared) -> Result<Power> {
        let name = plan::host_name(host);
        let group = lab.group.join(&name);
        fs::create_dir(&group).with_context(|| format!("cannot make the control group {}", group.display()))?;
        let place = lab.folder.join("hosts").join(name);
        let (switching, state) = (Mutex::default(), Mutex::default());
        Ok(Power { host, group, place, switching, state, changed: Condvar::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_on(&self) -> bool {
        self.state().running
    }

    pub(super) fn init(&self) -> Option<u32> {
        self.state().init
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.state().frozen
    }

    pub(super) fn boots(&self) -> u32 {
        self.state().boots
    }

    /// Gives power and waits until the host has booted (its rc runs on). A host that has power keeps it.
    pub(super) fn on(self: &Arc<Self>, lab: &Arc<Shared>) -> Result<f64> {
        let _switching = self.switching.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut state = self.state();
            if state.running {
                return Ok(epoch_s(SystemTime::now()));
            }
            (state.running, state.wanted) = (true, true);
        }
        let (booted, outcome) = mpsc::channel();
        let (power, lab) = (Arc::clone(self), Arc::clone(lab));
        std::thread::Builder::new()
            .name(plan::host_name(self.host))
            .spawn(move || power.live(&lab, &booted))
            .context("cannot start a thread for the host")?;
        outcome.recv().map_err(|_| anyhow!("the host's thread ended"))??;
        Ok(epoch_s(SystemTime::now()))
    }

    /// Takes power away; returns, when nothing of the host is left, the moment when its last frame could leave.
    pub(super) fn off(&self, lab: &Shared) -> Result<f64> {
        let _switching = self.switching.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut state = self.state();
            if !state.running {
                return Ok(epoch_s(SystemTime::now()));
            }
            state.wanted = false;
        }
        // A host in the middle of its boot may lack a cable yet; the kill below ends it all the same.
        if let Err(e) = lab.switch.silence(self.host) {
            super::note(&format!("{}: {e:#}", plan::host_name(self.host)));
        }
        let at = epoch_s(SystemTime::now());
        lab.event(&format!("{} power off", plan::host_name(self.host)));
        let start = std::time::Instant::now();
        let mut state = self.state();
        while state.running {
            drop(state);
            cgroup::kill(&self.group)?;
            state = self.changed.wait_timeout(self.state(), KILL_AGAIN).unwrap_or_else(PoisonError::into_inner).0;
            if start.elapsed() > DEATH_LIMIT {
                bail!("{} did not die within {DEATH_LIMIT:?}", plan::host_name(self.host));
            }
        }
        Ok(at)
    }

    pub(super) fn freeze(&self, frozen: bool) -> Result<()> {
        let mut state = self.state();
        if state.init.is_none() {
            bail!("{} has no power", plan::host_name(self.host));
        }
        cgroup::freeze(&self.group, frozen)?;
        state.frozen = frozen;
        Ok(())
    }

    /// The host's thread: boots, waits, cleans up, and boots again if the host asked for it.
    fn live(&self, lab: &Shared, booted: &Sender<Result<()>>) {
        let name = plan::host_name(self.host);
        loop {
            let outcome = self.boot(lab).map(|(maker, output)| {
                let _ = booted.send(Ok(()));
                self.wait(maker, output)
            });
            self.clean(lab);
            let again = match outcome {
                Ok(code) => {
                    lab.event(&format!("{name} down, code {code}"));
                    code == REBOOTED && self.state().wanted
                }
                Err(e) => {
                    lab.event(&format!("{name} did not boot: {e:#}"));
                    let _ = booted.send(Err(e));
                    false
                }
            };
            if !again {
                break;
            }
        }
        let mut state = self.state();
        (state.running, state.wanted) = (false, false);
        self.changed.notify_all();
    }

    fn boot(&self, lab: &Shared) -> Result<(Child, BufReader<impl Read + use<>>)> {
        let name = plan::host_name(self.host);
        let log = File::options().create(true).append(true).open(self.place.join("maker.log"))?;
        let mut maker = Command::new(SELF)
            .arg("__host")
            .arg(&lab.folder)
            .arg(self.host.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let mut output = BufReader::new(maker.stdout.take().context("the maker has an output")?);
        match self.bring_up(lab, &mut maker, &mut output) {
            Ok(init) => {
                let mut state = self.state();
                state.init = Some(init);
                state.boots += 1;
                fs::write(self.place.join("init.new"), init.to_string())?;
                fs::rename(self.place.join("init.new"), self.place.join("init"))?;
                lab.event(&format!("{name} power on"));
                Ok((maker, output))
            }
            Err(e) => {
                cgroup::kill(&self.group)?;
                let _ = maker.kill();
                let _ = maker.wait();
                let log = fs::read_to_string(self.place.join("maker.log")).unwrap_or_default();
                Err(e.context(format!("{name} did not boot; its maker said: {log}")))
            }
        }
    }

    /// Talks a new host through its boot; gives the process id of its pid 1.
    fn bring_up(&self, lab: &Shared, maker: &mut Child, output: &mut impl BufRead) -> Result<u32> {
        expect(output, NAMESPACES_MADE)?;
        lab.switch.plug(self.host, maker.id())?;
        // Power may have been taken while the cables were plugged in; the kill of `off` may have come too early.
        if !self.state().wanted {
            bail!("power was taken during the boot");
        }
        let mut input = maker.stdin.take().context("the maker has an input")?;
        writeln!(input, "{PLUGGED}")?;
        // The maker tells the number of pid 1, and pid 1 that it is up, in whichever order they come to it.
        let (first, second) = (word(output)?, word(output)?);
        let number = match (first == BOOTED, second == BOOTED) {
            (false, true) => first,
            (true, false) => second,
            _ => bail!("expected a number and \"{BOOTED}\", got \"{first}\" and \"{second}\""),
        };
        number.parse().context("the maker did not start pid 1")
    }

    fn wait(&self, mut maker: Child, output: BufReader<impl Read>) -> i32 {
        drop(output);
        maker.wait().ok().and_then(|status| status.code()).unwrap_or(0)
    }

    /// Removes what is left of a dead host: processes entered from outside, groups it made, cables.
    fn clean(&self, lab: &Shared) {
        let mut state = self.state();
        let _ = fs::remove_file(self.place.join("init"));
        (state.init, state.frozen) = (None, false);
        drop(state);
        let gone = cgroup::kill(&self.group)
            .and_then(|()| cgroup::remove_below(&self.group))
            .and_then(|()| cgroup::freeze(&self.group, false));
        if let Err(e) = gone {
            super::note(&format!("{}: {e:#}", plan::host_name(self.host)));
        }
        lab.switch.unplug(self.host);
        if let Err(e) = lab.switch.hang(self.host, false) {
            super::note(&format!("{}: {e:#}", plan::host_name(self.host)));
        }
    }
}

fn expect(output: &mut impl BufRead, wanted: &str) -> Result<()> {
    let got = word(output)?;
    if got != wanted {
        bail!("expected \"{wanted}\", got \"{got}\"");
    }
    Ok(())
}

/// The next line.
fn word(output: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    output.read_line(&mut line)?;
    Ok(line.trim().to_owned())
}
