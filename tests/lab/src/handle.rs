//! The handle of a lab: creates one or finds a running one, and does to its hosts what can happen to hosts.
//!
//! Tests, demo and command line hold a `Lab`. All acts are requests to the keeper, so handles in several processes may be
//! used side by side. The handle that created the lab owns it: when it is dropped, or its process dies, the lab ends.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use crate::options::LabOptions;
use crate::plan::{MAX_HOSTS, Nic, Place};
use crate::protocol::{BmcMode, Cut, LabState, Reply, Request, ask, fingerprint};
use crate::run::ended_within;
use crate::{disk, inside, netns, plan, process, sweep};

/// A lab ends within a second; a machine under load gets more.
const END_LIMIT: Duration = Duration::from_secs(30);

/// The discard port: nothing listens there, so a live kernel refuses the connection at once.
const UNUSED_PORT: u16 = 9;

/// Longest name of a lab; the path of its control socket must fit into the kernel's 108 bytes.
const NAME_MAX: usize = 40;

/// A running lab.
#[derive(Debug)]
pub struct Lab {
    folder: PathBuf,
    group: PathBuf,
    /// The `lab` binary as the keeper runs it, also when the file was replaced meanwhile.
    binary: File,
    hosts: usize,
    /// The keeper, whose input this handle keeps open, if the handle owns the lab.
    owned: Option<Child>,
}

/// Names of the running labs of this machine.
pub fn list() -> Vec<String> {
    let Ok(entries) = fs::read_dir(sweep::base_folder()) else { return Vec::new() };
    let mut names: Vec<_> = entries
        .flatten()
        .filter(|entry| sweep::keeper_of(&entry.path()).is_some())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

impl Lab {
    /// Makes a lab that lives as long as this handle. Removes what dead labs left first.
    pub fn create(options: LabOptions) -> Result<Lab> {
        Lab::start(options, true)
    }

    /// Makes a lab that lives until [`Lab::down`] or `lab down`.
    pub fn create_detached(options: LabOptions) -> Result<Lab> {
        Lab::start(options, false)
    }

    /// A handle of a running lab, without owning it.
    pub fn attach(name: &str) -> Result<Lab> {
        let folder = sweep::base_folder().join(name);
        let Some(keeper) = sweep::keeper_of(&folder) else {
            bail!("no lab named {name} is running; `lab list` shows those that are");
        };
        Lab::open(folder, keeper, None)
    }

    fn open(folder: PathBuf, keeper: u32, owned: Option<Child>) -> Result<Lab> {
        let options: LabOptions = serde_json::from_slice(&fs::read(folder.join("lab.json"))?)?;
        let group = PathBuf::from(fs::read_to_string(folder.join("cgroup"))?.trim());
        let binary = File::open(format!("/proc/{keeper}/exe")).context("the lab's keeper ended")?;
        Ok(Lab { folder, group, binary, hosts: options.hosts, owned })
    }

    fn start(mut options: LabOptions, owned: bool) -> Result<Lab> {
        check(&options)?;
        sweep().context("cannot remove what a dead lab left")?;
        let name = options.name.get_or_insert_with(unique_name).clone();
        let folder = make_folder(&name)?;
        process::write_identity(&folder.join("owner"), std::process::id())?;
        let started = prepare(&folder, &options).and_then(|()| start_keeper(&folder, owned));
        let child = started.inspect_err(|_| {
            let _ = sweep::remove(&folder);
        })?;
        let keeper = child.id();
        Lab::open(folder, keeper, owned.then_some(child))
    }

    /// Name of the lab.
    pub fn name(&self) -> String {
        self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Folder of the lab, gone when the lab ends.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Number of hosts.
    pub fn hosts(&self) -> usize {
        self.hosts
    }

    pub(crate) fn group(&self) -> &Path {
        &self.group
    }

    /// Path of the `lab` binary, valid in this process and in children until they run it.
    pub(crate) fn program(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.binary.as_raw_fd()))
    }

    /// Process id, on the machine, of a host's pid 1; `None` without power.
    pub fn init(&self, host: usize) -> Option<u32> {
        fs::read_to_string(self.place(host).join("init")).ok()?.parse().ok()
    }

    /// Has power and has booted.
    pub fn is_up(&self, host: usize) -> bool {
        self.init(host).is_some()
    }

    fn place(&self, host: usize) -> PathBuf {
        self.folder.join("hosts").join(plan::host_name(host))
    }

    /// The network namespace of a place, to be entered by threads.
    pub(crate) fn namespace(&self, place: Place) -> Result<File> {
        let path = match place {
            Place::Host(host) => {
                let init = self.init(host).with_context(|| format!("{} has no power", place.name()))?;
                PathBuf::from(format!("/proc/{init}/ns/net"))
            }
            Place::Client | Place::Luci => self.folder.join("net").join(place.name()),
        };
        File::open(&path).with_context(|| format!("cannot open the network of {}", place.name()))
    }

    fn act(&self, request: &Request) -> Result<SystemTime> {
        match ask(&self.folder, request)? {
            Reply::Done { at } => Ok(UNIX_EPOCH + Duration::from_secs_f64(at)),
            other => bail!("unexpected reply to {request:?}: {other:?}"),
        }
    }

    /// Gives a host power; returns when it has booted (its rc runs on).
    pub fn power_on(&self, host: usize) -> Result<SystemTime> {
        self.act(&Request::PowerOn { host })
    }

    /// Pulls the plug; gives the moment when the host's last frame could leave. Nothing of the host is left on return.
    pub fn power_off(&self, host: usize) -> Result<SystemTime> {
        self.act(&Request::PowerOff { host })
    }

    /// Off and on again.
    pub fn power_cycle(&self, host: usize) -> Result<SystemTime> {
        self.act(&Request::Cycle { host })
    }

    /// Gives all hosts power, at the same time.
    pub fn power_on_all(&self) -> Result<()> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (1..=self.hosts).map(|host| scope.spawn(move || self.power_on(host))).collect();
            for thread in threads {
                thread.join().map_err(|_| anyhow::anyhow!("a thread that powers a host on panicked"))??;
            }
            Ok(())
        })
    }

    /// Stops every process of a host; its kernel still answers ping and accepts connections.
    pub fn freeze(&self, host: usize) -> Result<SystemTime> {
        self.act(&Request::Freeze { host })
    }

    /// Lets a frozen host run on.
    pub fn thaw(&self, host: usize) -> Result<SystemTime> {
        self.act(&Request::Thaw { host })
    }

    /// Makes a host look like one whose kernel hangs: nothing runs, nothing answers, the carrier stays.
    pub fn hang(&self, host: usize) -> Result<SystemTime> {
        self.act(&Request::Hang { host })
    }

    /// Ends a hang; the host runs on as if nothing had been.
    pub fn unhang(&self, host: usize) -> Result<SystemTime> {
        self.act(&Request::Unhang { host })
    }

    /// Cuts cables of a host; they stay cut over power off and on.
    pub fn cut(&self, host: usize, nics: &[Nic], how: Cut) -> Result<SystemTime> {
        self.act(&Request::Cut { host, nics: nics.to_vec(), how: Some(how) })
    }

    /// Mends cables of a host.
    pub fn mend(&self, host: usize, nics: &[Nic]) -> Result<SystemTime> {
        self.act(&Request::Cut { host, nics: nics.to_vec(), how: None })
    }

    /// Parts the hosts into groups that do not hear each other on these networks; replaces an earlier partition.
    /// Client, luci and BMCs still reach all of them.
    pub fn partition(&self, groups: &[&[usize]], nics: &[Nic]) -> Result<SystemTime> {
        let groups = groups.iter().map(|group| group.to_vec()).collect();
        self.act(&Request::Partition { groups, nics: nics.to_vec() })
    }

    /// Loses this share of a host's frames on a network, in each direction; 0 ends it.
    pub fn loss(&self, host: usize, nic: Nic, percent: u8) -> Result<SystemTime> {
        self.act(&Request::Loss { host, nic, percent })
    }

    /// Ends all cuts, partitions and losses of the whole network.
    pub fn heal(&self) -> Result<SystemTime> {
        self.act(&Request::Heal)
    }

    /// Makes a host whole: cables mended, thawed, its BMC working, power on.
    pub fn restore(&self, host: usize) -> Result<SystemTime> {
        self.act(&Request::Restore { host })
    }

    /// Gives a host without power a fresh disk.
    pub fn wipe(&self, host: usize) -> Result<SystemTime> {
        self.act(&Request::Wipe { host })
    }

    /// Changes how a host's BMC behaves.
    pub fn set_bmc(&self, host: usize, mode: BmcMode) -> Result<SystemTime> {
        self.act(&Request::Bmc { host, mode })
    }

    /// State of all hosts.
    pub fn state(&self) -> Result<LabState> {
        match ask(&self.folder, &Request::State)? {
            Reply::State(state) => Ok(state),
            other => bail!("unexpected reply: {other:?}"),
        }
    }

    /// Whether the kernel at an address answers a place within `limit`: accepts or refuses a TCP connection.
    pub fn reaches(&self, from: Place, address: IpAddr, limit: Duration) -> Result<bool> {
        let target = SocketAddr::new(address, UNUSED_PORT);
        let answer = netns::inside(&self.namespace(from)?, || Ok(TcpStream::connect_timeout(&target, limit)))?;
        Ok(answer.map_or_else(|e| e.kind() == ErrorKind::ConnectionRefused, |_| true))
    }

    /// Adds a line of the caller's to events.log.
    pub fn note(&self, text: &str) -> Result<SystemTime> {
        self.act(&Request::Note { text: text.into() })
    }

    /// What was done to hosts so far: a line each, seconds since 1970 first.
    pub fn events(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.join("events.log"))?)
    }

    /// Writes a file in a host, with or without power.
    pub fn put(&self, host: usize, path: impl AsRef<Path>, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        match self.init(host) {
            Some(init) => disk::put_on(init, path.as_ref(), content.as_ref(), mode),
            None => disk::put_off(&self.place(host).join("disk"), path.as_ref(), content.as_ref(), mode),
        }
    }

    /// Reads a file of a host, with or without power.
    pub fn get(&self, host: usize, path: impl AsRef<Path>) -> Result<String> {
        let content = match self.init(host) {
            Some(init) => disk::get_on(init, path.as_ref()),
            None => disk::get_off(&self.place(host).join("disk"), path.as_ref()),
        }?;
        Ok(String::from_utf8_lossy(&content).into_owned())
    }

    /// Boot id that a host shows now.
    pub fn boot_id(&self, host: usize) -> Result<String> {
        // The file that is shown as the kernel's own; the kernel's shines through while a dying host's mounts go.
        Ok(self.get(host, inside::BOOT_ID)?.trim().to_owned())
    }

    /// What a host's boot script wrote, over all boots.
    pub fn console(&self, host: usize) -> Result<String> {
        self.get(host, "/var/log/lab/console.log")
    }

    /// Ends the lab and removes everything of it.
    pub fn down(mut self) -> Result<()> {
        let folder = self.folder.clone();
        match self.owned.take() {
            Some(child) => end(child, &folder),
            None => ask(&folder, &Request::Down).map(drop),
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(child) = self.owned.take()
            && let Err(e) = end(child, &self.folder)
        {
            inside::note(&format!("the lab {} did not end well: {e:#}", self.name()));
        }
    }
}

/// Lets go of an owned keeper and waits until it has taken its lab down.
fn end(mut keeper: Child, folder: &Path) -> Result<()> {
    drop(keeper.stdin.take());
    if !ended_within(&keeper, END_LIMIT)? {
        keeper.kill()?;
    }
    let status = keeper.wait()?;
    if status.success() {
        return Ok(());
    }
    let log = fs::read_to_string(folder.join("keeper.log")).unwrap_or_default();
    sweep::remove(folder)?;
    bail!("the keeper ended with {status} and said: {log}")
}

fn check(options: &LabOptions) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("the lab makes namespaces and needs root: run this as root, for instance `sudo -E cargo xtask test`");
    }
    if !(1..=MAX_HOSTS).contains(&options.hosts) {
        bail!("a lab has 1 to {MAX_HOSTS} hosts, not {}", options.hosts);
    }
    if let Some(name) = &options.name
        && (name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
    {
        bail!("the name of a lab has 1 to {NAME_MAX} letters, digits and dashes, not {name:?}");
    }
    let needed = [("ip", "iproute2"), ("nft", "nftables"), ("ipmi_sim", "openipmi")];
    for (program, package) in needed.into_iter().filter(|(program, _)| options.bmcs || *program != "ipmi_sim") {
        if !crate::run::SYSTEM_PATH.split(':').any(|folder| Path::new(folder).join(program).exists()) {
            bail!("{program} is not installed; apt install {package}");
        }
    }
    for path in options.binaries.iter().chain(options.binds.iter().map(|(from, _)| from)) {
        if !path.exists() {
            bail!("{} does not exist and cannot be shown to the hosts", path.display());
        }
    }
    Ok(())
}

/// Disks must not lie below a folder that hosts see through an overlay: the kernel refuses an overlay inside itself.
fn check_folder(folder: &Path) -> Result<()> {
    match inside::KEPT.iter().find(|top| folder.starts_with(Path::new("/").join(top))) {
        Some(top) => bail!(
            "{} is below /{top}, which hosts see through an overlay; set LAB_DIR to another folder",
            folder.display()
        ),
        None => Ok(()),
    }
}

/// Makes the folder of a new lab.
fn make_folder(name: &str) -> Result<PathBuf> {
    let base = sweep::base_folder();
    // A lab that ends right now removes the empty base folder; then it is made once more.
    for _ in 0..3 {
        fs::create_dir_all(&base).with_context(|| format!("cannot make {}", base.display()))?;
        let Ok(base) = base.canonicalize() else { continue };
        let folder = base.join(name);
        check_folder(&folder)?;
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                bail!("a lab named {name} is running; end it with `lab --name {name} down` or choose another name")
            }
            Err(e) => return Err(e).with_context(|| format!("cannot make {}", folder.display())),
        }
    }
    bail!("{} vanishes as soon as it is made", base.display())
}

fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    format!("lab-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn prepare(folder: &Path, options: &LabOptions) -> Result<()> {
    fs::write(folder.join("lab.json"), serde_json::to_vec(options)?)?;
    fs::write(folder.join("places.hosts"), plan::hosts_file(options.hosts))?;
    (1..=options.hosts).try_for_each(|host| disk::lay_out(folder, host))
}

/// Starts the keeper and waits for its word that the lab is up.
fn start_keeper(folder: &Path, owned: bool) -> Result<Child> {
    let program = lab_binary()?;
    let mut child = Command::new(&program)
        .arg("__keeper")
        .arg(folder)
        .arg(if owned { "owned" } else { "detached" })
        .current_dir("/")
        .stdin(if owned { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(File::create(folder.join("keeper.log"))?)
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let mut line = String::new();
    let output = child.stdout.take().context("the keeper has an output")?;
    BufReader::new(output).read_line(&mut line)?;
    match line.trim().split_once(' ') {
        Some(("ready", version)) if version == fingerprint() => return Ok(child),
        Some(("ready", _)) => {
            drop(child.stdin.take());
            let _ = child.kill();
            let _ = child.wait();
            bail!("{} is of another build than this program; run: cargo build -p lab", program.display());
        }
        _ => {}
    }
    let _ = child.kill();
    let _ = child.wait();
    let log = fs::read_to_string(folder.join("keeper.log")).unwrap_or_default();
    bail!("the lab did not come up: {} {log}", line.trim().trim_start_matches("failed "))
}

/// The `lab` binary: `$LAB_BIN`, this program itself, or the one that cargo built beside it.
fn lab_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("LAB_BIN") {
        return Ok(path.into());
    }
    let this = std::env::current_exe()?;
    if this.file_name().is_some_and(|name| name == "lab") {
        return Ok(this);
    }
    this.ancestors().skip(1).take(2).map(|folder| folder.join("lab")).find(|path| path.is_file()).with_context(|| {
        format!("no `lab` binary near {}; build it with `cargo build -p lab` or set LAB_BIN", this.display())
    })
}
