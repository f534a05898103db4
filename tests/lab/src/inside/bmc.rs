//! The BMCs of a lab: one `ipmi_sim` of OpenIPMI per host, on its own address, wired to the host's power.
//!
//! The keeper starts and stops them. The simulator speaks IPMI 2.0 (lanplus, cipher suite 3) and calls the `lab` binary
//! for each chassis command; it never sees the host otherwise, so a BMC outlives its host as a real one does.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::SELF;
use crate::plan::{self, BMC_PASSWORD, BMC_USER};
use crate::{cgroup, netns};

/// The simulator listens within some ten milliseconds of its start.
const LISTEN_LIMIT: Duration = Duration::from_secs(5);

/// Starts the BMC of a host. The caller's thread must outlive the child, which dies with it.
pub(super) fn start(folder: &Path, host: usize) -> Result<Child> {
    let place = folder.join("bmc").join(plan::host_name(host));
    fs::create_dir_all(place.join("state"))?;
    fs::write(place.join("lan.conf"), lan_conf(folder, host))?;
    fs::write(
        place.join("emulator"),
        "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\nmc_enable 0x20\n",
    )?;
    let log = fs::File::create(place.join("log"))?;
    Command::new(SELF)
        .arg("__bmc")
        .arg(folder)
        .arg(host.to_string())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start the BMC of {}", plan::host_name(host)))
}

/// Waits until the BMC of a host takes requests.
pub(super) fn wait_listening(child: &mut Child, host: usize) -> Result<()> {
    let [a, b, c, d] = plan::bmc_address(host).octets();
    // The kernel prints the address as the hexadecimal number it has in memory, and the port 623 as 026F.
    let listening = format!("{:08X}:026F", u32::from_le_bytes([a, b, c, d]));
    let start = Instant::now();
    while !fs::read_to_string(format!("/proc/{}/net/udp", child.id())).is_ok_and(|text| text.contains(&listening)) {
        if let Some(status) = child.try_wait()? {
            bail!(
                "the BMC of {} ended at once ({status}); is ipmi_sim installed (apt install openipmi)?",
                plan::host_name(host)
            );
        }
        if start.elapsed() > LISTEN_LIMIT {
            bail!("the BMC of {} does not listen after {LISTEN_LIMIT:?}", plan::host_name(host));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn lan_conf(folder: &Path, host: usize) -> String {
    let name = plan::host_name(host);
    let levels: String = ["callback", "user", "operator", "admin"]
        .map(|level| format!("    allowed_auths_{level} none md2 md5 straight\n"))
        .concat();
    format!(
        "name \"{name}\"\nset_working_mc 0x20\n  startlan 1\n    addr {} 623\n    priv_limit admin\n{levels}    \
         guid a123456789abcdefa1234567{host:08x}\n  endlan\n  chassis_control \"/proc/{}/exe __chassis {} {host}\"\n  \
         user 2 true \"{BMC_USER}\" \"{BMC_PASSWORD}\" admin 10 none md2 md5 straight\n",
        plan::bmc_address(host),
        std::process::id(),
        folder.display(),
    )
}

/// Runs as the BMC: moves into the BMCs' network and becomes the simulator.
pub(super) fn exec(folder: &Path, host: usize) -> Result<i32> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let group = fs::read_to_string(folder.join("cgroup"))?;
    cgroup::join(&Path::new(group.trim()).join("bmc"))?;
    netns::enter(fs::File::open(folder.join("net/bmc"))?)?;
    let place = folder.join("bmc").join(plan::host_name(host));
    std::io::stdout().flush()?;
    Err(Command::new("ipmi_sim")
        .arg("-n")
        .arg("-c")
        .arg(place.join("lan.conf"))
        .arg("-f")
        .arg(place.join("emulator"))
        .arg("-s")
        .arg(place.join("state"))
        .env("PATH", crate::run::SYSTEM_PATH)
        .exec())
    .context("cannot run ipmi_sim (apt install openipmi)")
}
