//! Where ricci listens and where its things lie. Read once by `main`; every flag has an environment variable, so that
//! a unit file or a test can set it without a command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Flags common to all subcommands.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Address and port to listen on. Without IPv6, the default becomes 0.0.0.0.
    #[arg(long, global = true, value_name = "ADDRESS:PORT", env = "RICCI_LISTEN", default_value = "[::]:11111")]
    pub listen: SocketAddr,

    /// Certificate, paired managers, one-time tokens and what was accepted but not yet done.
    #[arg(long, global = true, value_name = "DIRECTORY", env = "RICCI_STATE_DIR", default_value = "/var/lib/ricci")]
    pub state_dir: PathBuf,

    /// The configuration of the cluster.
    #[arg(long, global = true, value_name = "FILE", env = "RICCI_CONF", default_value = "/etc/cluster/cluster.conf")]
    pub conf: PathBuf,

    /// Where corosync.conf and authkey belong.
    #[arg(long, global = true, value_name = "DIRECTORY", env = "RICCI_COROSYNC_DIR", default_value = "/etc/corosync")]
    pub corosync_dir: PathBuf,

    /// Control socket of rgmanager.
    #[arg(long, global = true, value_name = "PATH", env = "RICCI_SOCKET", default_value = shared::socket::SOCKET_PATH)]
    pub socket: PathBuf,

    /// What rgmanager keeps of its cluster; removed when the node leaves for good.
    #[arg(
        long,
        global = true,
        value_name = "DIRECTORY",
        env = "RICCI_CLUSTER_STATE_DIR",
        default_value = "/var/lib/cluster"
    )]
    pub cluster_state_dir: PathBuf,

    /// Who starts and stops corosync and rgmanager. `auto`: systemd if it runs here, else ricci itself.
    #[arg(long, global = true, env = "RICCI_INIT", value_enum, default_value = "auto")]
    pub init: InitChoice,

    /// Process ids of daemons that ricci started itself (`--init direct`).
    #[arg(long, global = true, value_name = "DIRECTORY", env = "RICCI_RUN_DIR", default_value = "/run/cluster")]
    pub run_dir: PathBuf,

    /// Output of daemons that ricci started itself (`--init direct`).
    #[arg(long, global = true, value_name = "DIRECTORY", env = "RICCI_LOG_DIR", default_value = "/var/log/cluster")]
    pub log_dir: PathBuf,

    /// Resource agents lie in `resource.d/<provider>/` below it.
    #[arg(long, global = true, value_name = "DIRECTORY", env = "RICCI_OCF_ROOT", default_value = "/usr/lib/ocf")]
    pub ocf_root: PathBuf,

    /// Fence agents lie here as `fence_*`.
    #[arg(long, global = true, value_name = "DIRECTORY", env = "RICCI_FENCE_DIR", default_value = "/usr/sbin")]
    pub fence_dir: PathBuf,

    /// corosync, run with `-f` (`--init direct`).
    #[arg(long, global = true, value_name = "FILE", env = "RICCI_COROSYNC", default_value = "/usr/sbin/corosync")]
    pub corosync_program: PathBuf,

    /// rgmanager (`--init direct`). Default: beside this program if it is there, else /usr/sbin/rgmanager.
    #[arg(long, global = true, value_name = "FILE", env = "RICCI_RGMANAGER")]
    pub rgmanager_program: Option<PathBuf>,

    /// Says that corosync is ready by exit status 0, run with `-s` (`--init direct`).
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "RICCI_COROSYNC_CFGTOOL",
        default_value = "/usr/sbin/corosync-cfgtool"
    )]
    pub corosync_cfgtool: PathBuf,

    /// Run instead of the usual way to reboot this node.
    #[arg(long, global = true, value_name = "FILE", env = "RICCI_REBOOT_PROGRAM")]
    pub reboot_program: Option<PathBuf>,

    /// Also speak the original XML protocol of ricci with clients that name no HTTP version in their handshake.
    #[arg(long, global = true, env = "RICCI_LEGACY_PROTOCOL", value_enum, default_value = "off")]
    pub legacy_protocol: Switch,

    /// Tells one boot of this node from the next.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "RICCI_BOOT_ID_FILE",
        default_value = "/proc/sys/kernel/random/boot_id"
    )]
    pub boot_id_file: PathBuf,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

/// `--init`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InitChoice {
    Auto,
    Systemd,
    Direct,
}

impl Options {
    /// The rgmanager to start when there is no systemd.
    pub fn rgmanager(&self) -> PathBuf {
        if let Some(program) = &self.rgmanager_program {
            return program.clone();
        }
        let beside = std::env::current_exe().ok().map(|ricci| ricci.with_file_name("rgmanager"));
        beside.filter(|program| program.is_file()).unwrap_or_else(|| PathBuf::from("/usr/sbin/rgmanager"))
    }
}
