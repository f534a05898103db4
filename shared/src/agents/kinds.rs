//! The table of resource types: what cluster.conf calls them, which attributes they have, and what becomes of each
//! (rhcs.md §5.9). A new type is a new row; code is needed only where several attributes make one parameter.
//!
//! Read by `mapping`, by the view (primary attribute, inheritance), by the checks and by the forms.

/// One type of resource.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Element name.
    pub name: &'static str,
    /// What the console calls it.
    pub title: &'static str,
    pub runs: Runs,
    /// The attribute that names a resource of this type.
    pub primary: &'static str,
    /// Names it when `primary` is absent.
    pub primary_instead: Option<&'static str>,
    pub attributes: &'static [Attribute],
    /// Parameters that are set unless an attribute says otherwise.
    pub fixed: &'static [(&'static str, &'static str)],
    /// Parameters made of several attributes, or of none.
    pub compose: &'static [Compose],
    /// Attributes that are not listed are parameters of the agent.
    pub free_attributes: bool,
    /// How often one definition may be used (the original's `maxinstances`, rhcs.md §5.9); 0: as often as one likes.
    pub max_instances: u32,
    /// What differs from the original and should be known; shown as a finding.
    pub note: Option<&'static str>,
}

impl Kind {
    /// The row of one attribute.
    pub fn attribute(&self, name: &str) -> Option<&'static Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }
}

/// Who runs a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    Ocf {
        provider: &'static str,
        agent: &'static str,
    },
    /// Attributes `provider` and `type`.
    OcfByAttributes,
    /// Attribute `file`.
    LsbByFile,
    /// Attribute `unit`.
    SystemdByUnit,
    Systemd {
        unit: &'static str,
    },
    /// Nothing runs; the children count.
    Grouping,
    /// Cannot be run, and why.
    Not {
        reason: &'static str,
    },
}

/// One attribute of a type.
#[derive(Debug, Clone, Copy)]
pub struct Attribute {
    pub name: &'static str,
    pub required: bool,
    /// No two resources of the type may have the same value.
    pub unique: bool,
    pub inherits: Option<Inherits>,
    pub becomes: Becomes,
    /// A change takes effect without a restart: the agent reads it afresh whenever it checks or migrates.
    pub reloads: bool,
}

/// Where an attribute that is not given comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inherits {
    /// The nearest ancestor of this type; `None`: the nearest ancestor that has the attribute.
    pub kind: Option<&'static str>,
    pub attribute: &'static str,
}

/// What becomes of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Becomes {
    /// This parameter, same value.
    Parameter(&'static str),
    /// This parameter, `true` or `false`.
    Truth(&'static str),
    /// One more word of this parameter.
    OptionOf { parameter: &'static str, prefix: &'static str },
    /// Used by one of the type's `compose` steps or by the choice of the runner.
    Composed,
    /// Needed by nothing that runs; no reason to speak of it.
    Known,
    /// Had an effect in the original that nothing has today, and why.
    Ignored(&'static str),
}

/// Parameters that take more than a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compose {
    /// `address="10.0.0.1/24"` → ip, cidr_netmask.
    AddressAndPrefix,
    /// `force_fsck` → run_fsck=force.
    FsckIfForced,
    /// `host`, `export`, `fstype` → device, fstype.
    RemoteExport,
    /// `server_root`, `config_file` → configfile.
    ConfigBelowServerRoot,
    /// `postmaster_options` → pgdata, start_opt.
    PostgresOptions,
    /// `path`, `nfspath` → nfs_shared_infodir.
    SharedNfsState,
    /// `fsid`, or one made from `path` → fsid.
    ExportId,
    /// `xmlfile`, `path`, `name` → config; `hypervisor_uri`, or the one that `hypervisor` stands for → hypervisor.
    DomainFile,
    /// `migrate="pause"` → one more option of `migrate_options`.
    PausedMigration,
    /// The resource's name → this parameter.
    NameAs(&'static str),
}

const fn attribute(name: &'static str, becomes: Becomes) -> Attribute {
    Attribute { name, required: false, unique: false, inherits: None, becomes, reloads: false }
}

impl Attribute {
    const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    const fn unique(self) -> Self {
        Self { unique: true, ..self }
    }

    const fn reloads(self) -> Self {
        Self { reloads: true, ..self }
    }

    const fn inherits(self, attribute: &'static str) -> Self {
        Self { inherits: Some(Inherits { kind: None, attribute }), ..self }
    }

    const fn inherits_from(self, kind: &'static str, attribute: &'static str) -> Self {
        Self { inherits: Some(Inherits { kind: Some(kind), attribute }), ..self }
    }
}

const fn same(name: &'static str) -> Attribute {
    attribute(name, Becomes::Parameter(name))
}

const fn to(name: &'static str, parameter: &'static str) -> Attribute {
    attribute(name, Becomes::Parameter(parameter))
}

const fn known(name: &'static str) -> Attribute {
    attribute(name, Becomes::Known)
}

const fn composed(name: &'static str) -> Attribute {
    attribute(name, Becomes::Composed)
}

const fn ignored(name: &'static str, reason: &'static str) -> Attribute {
    attribute(name, Becomes::Ignored(reason))
}

const NAME: Attribute = known("name");
const SERVICE_NAME: Attribute = known("service_name").inherits_from("service", "name");
const NFSLOCK_WHY: &str = "lock state of NFS clients is moved by the nfsserver resource";
const NFSLOCK: Attribute = ignored("nfslock", NFSLOCK_WHY).inherits_from("service", "nfslock");
/// The node reboots when the stop fails; the engine's work, not the agent's.
const SELF_FENCE: Attribute = known("self_fence");
const WAIT_WHY: &str = "the timeout of the stop action takes its place: <action name=\"stop\" timeout=\"…\"/>";
const SHUTDOWN_WAIT: Attribute = ignored("shutdown_wait", WAIT_WHY);
const STARTUP_WAIT: Attribute =
    ignored("startup_wait", "the timeout of the start action takes its place: <action name=\"start\" timeout=\"…\"/>");
const QUICK_STATUS: Attribute = ignored("quick_status", "the agent's monitor is quick by itself");
const NFSRESTART: Attribute = ignored("nfsrestart", "use an nfsserver resource");
const USE_FINDMNT: Attribute = known("use_findmnt");
const MOUNTPOINT: Attribute = to("mountpoint", "directory").required().unique();
/// The agent's default is to kill, the original's was not to.
const DO_NOT_KILL: &[(&str, &str)] = &[("force_unmount", "false")];
const FORCE_UNMOUNT: Attribute = attribute("force_unmount", Becomes::Truth("force_unmount"));

const fn ocf(agent: &'static str) -> Runs {
    Runs::Ocf { provider: "heartbeat", agent }
}

const BASE: Kind = Kind {
    name: "",
    title: "",
    runs: Runs::Grouping,
    primary: "name",
    primary_instead: None,
    attributes: &[],
    fixed: &[],
    compose: &[],
    max_instances: 0,
    free_attributes: false,
    note: None,
};

/// All types, in the order in which a form offers them.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "ip",
        title: "IP Address",
        runs: ocf("IPaddr2"),
        primary: "address",
        attributes: &[
            composed("address").required().unique(),
            known("name"),
            known("family"),
            // The runner's work: no agent of today looks at the link.
            known("monitor_link"),
            NFSLOCK,
            ignored("sleeptime", "stopping does not wait after the address is removed"),
            ignored("disable_rdisc", "router discovery is a setting of the system today"),
            to("prefer_interface", "nic"),
        ],
        compose: &[Compose::AddressAndPrefix],
        max_instances: 1,
        ..BASE
    },
    Kind {
        name: "fs",
        title: "File System",
        runs: ocf("Filesystem"),
        attributes: &[
            NAME.required(),
            MOUNTPOINT,
            same("device").required().unique(),
            same("fstype"),
            same("options"),
            FORCE_UNMOUNT,
            QUICK_STATUS,
            SELF_FENCE,
            ignored("nfslock", NFSLOCK_WHY).inherits("nfslock"),
            NFSRESTART,
            known("fsid"),
            composed("force_fsck"),
            USE_FINDMNT,
        ],
        fixed: DO_NOT_KILL,
        compose: &[Compose::FsckIfForced],
        max_instances: 1,
        ..BASE
    },
    Kind {
        name: "script",
        title: "Script",
        runs: Runs::LsbByFile,
        attributes: &[NAME.required(), composed("file").required().unique(), SERVICE_NAME],
        ..BASE
    },
    Kind {
        name: "systemd",
        title: "Systemd Unit",
        runs: Runs::SystemdByUnit,
        primary_instead: Some("unit"),
        attributes: &[NAME, composed("unit").required().unique()],
        ..BASE
    },
    Kind {
        name: "ocf",
        title: "OCF Agent",
        runs: Runs::OcfByAttributes,
        attributes: &[NAME.required(), composed("type").required(), composed("provider")],
        free_attributes: true,
        ..BASE
    },
    Kind {
        name: "apache",
        title: "Apache",
        runs: ocf("apache"),
        attributes: &[
            NAME.required(),
            same("httpd"),
            composed("server_root"),
            composed("config_file"),
            to("httpd_options", "options"),
            SHUTDOWN_WAIT,
            SERVICE_NAME,
        ],
        compose: &[Compose::ConfigBelowServerRoot],
        ..BASE
    },
    Kind {
        name: "bind-mount",
        title: "Bind Mount",
        runs: ocf("Filesystem"),
        attributes: &[NAME.required(), MOUNTPOINT, to("source", "device").required(), FORCE_UNMOUNT],
        fixed: &[("force_unmount", "false"), ("fstype", "none"), ("options", "bind")],
        ..BASE
    },
    Kind {
        name: "clusterfs",
        title: "GFS2",
        runs: ocf("Filesystem"),
        attributes: &[
            NAME.required(),
            MOUNTPOINT,
            same("device").required().unique(),
            same("fstype"),
            same("options"),
            FORCE_UNMOUNT,
            SELF_FENCE,
            known("fsid"),
            NFSLOCK,
            NFSRESTART,
            USE_FINDMNT,
        ],
        fixed: DO_NOT_KILL,
        note: Some(
            "a shared file system needs its lock manager (dlm) running on every node; this suite does not start it",
        ),
        ..BASE
    },
    Kind {
        name: "netfs",
        title: "NFS/CIFS Mount",
        runs: ocf("Filesystem"),
        attributes: &[
            NAME.required(),
            MOUNTPOINT,
            composed("host").required(),
            composed("export").required(),
            composed("fstype"),
            same("options"),
            ignored("no_unmount", "what is mounted by a service is unmounted by it"),
            FORCE_UNMOUNT,
            SELF_FENCE,
            USE_FINDMNT,
        ],
        fixed: DO_NOT_KILL,
        compose: &[Compose::RemoteExport],
        ..BASE
    },
    Kind {
        name: "lvm",
        title: "HA LVM",
        runs: ocf("LVM-activate"),
        attributes: &[
            NAME.required(),
            to("vg_name", "vgname").required(),
            to("lv_name", "lvname"),
            same("vg_access_mode"),
            same("tag"),
            SELF_FENCE,
            NFSLOCK,
        ],
        fixed: &[("vg_access_mode", "tagging"), ("activation_mode", "exclusive")],
        note: Some(
            "volumes are activated by tags as before; set volume_list in lvm.conf on every node, or write vg_access_mode=\"system_id\"",
        ),
        max_instances: 1,
        ..BASE
    },
    Kind {
        name: "mysql",
        title: "MySQL",
        runs: ocf("mysql"),
        attributes: &[
            NAME.required(),
            to("config_file", "config"),
            attribute(
                "listen_address",
                Becomes::OptionOf { parameter: "additional_parameters", prefix: "--bind-address=" },
            ),
            attribute("mysqld_options", Becomes::OptionOf { parameter: "additional_parameters", prefix: "" }),
            // Where the server of today keeps its things: the agent's defaults are those of another distribution.
            same("binary"),
            same("datadir"),
            same("user"),
            same("group"),
            same("pid"),
            same("socket"),
            same("log"),
            STARTUP_WAIT,
            SHUTDOWN_WAIT,
            SERVICE_NAME,
        ],
        ..BASE
    },
    Kind {
        name: "postgres-8",
        title: "PostgreSQL 8",
        runs: ocf("pgsql"),
        attributes: &[
            NAME.required(),
            to("config_file", "config"),
            to("postmaster_user", "pgdba"),
            composed("postmaster_options"),
            same("pgctl"),
            same("psql"),
            same("pgport"),
            same("socketdir"),
            same("logfile"),
            STARTUP_WAIT,
            SHUTDOWN_WAIT,
            SERVICE_NAME,
        ],
        compose: &[Compose::PostgresOptions],
        ..BASE
    },
    Kind {
        name: "named",
        title: "Named (Bind Resource)",
        runs: ocf("named"),
        attributes: &[
            NAME.required(),
            to("config_file", "named_config"),
            ignored("named_sdb", "named reads its zones as its configuration says"),
            ignored("named_working_dir", "the directory stands in named's configuration"),
            same("named_options"),
            ignored("update_source", "set the source address in named's configuration"),
            SHUTDOWN_WAIT,
            SERVICE_NAME,
        ],
        ..BASE
    },
    Kind {
        name: "openldap",
        title: "Open LDAP",
        runs: ocf("slapd"),
        attributes: &[
            NAME.required(),
            to("config_file", "config"),
            to("url_list", "services"),
            to("slapd_options", "parameters"),
            SHUTDOWN_WAIT,
            SERVICE_NAME,
        ],
        ..BASE
    },
    Kind {
        name: "samba",
        title: "Samba Server",
        runs: Runs::Systemd { unit: "smb.service" },
        attributes: &[
            NAME.required(),
            ignored("config_file", "the unit smb.service reads /etc/samba/smb.conf"),
            ignored("smbd_options", "options stand in the unit smb.service"),
            ignored("nmbd_options", "options stand in the unit nmb.service"),
            SHUTDOWN_WAIT,
            SERVICE_NAME,
        ],
        note: Some(
            "smb.service is started; where the unit has another name use <systemd unit=…>, and a second one for nmb",
        ),
        ..BASE
    },
    Kind {
        name: "smb",
        title: "Samba (generated configuration)",
        runs: Runs::Systemd { unit: "smb.service" },
        attributes: &[NAME.required(), ignored("workgroup", "it stands in smb.conf"), SERVICE_NAME],
        note: Some("smb.conf is no longer generated from the file systems of the service; write it by hand"),
        ..BASE
    },
    Kind {
        name: "tomcat-6",
        title: "Tomcat 6",
        runs: ocf("tomcat"),
        attributes: &[
            NAME.required(),
            ignored("config_file", "the agent takes its settings from the attributes catalina_home and java_home"),
            same("catalina_home"),
            same("java_home"),
            same("tomcat_user"),
            SHUTDOWN_WAIT,
            SERVICE_NAME,
        ],
        fixed: &[("catalina_home", "/usr/share/tomcat"), ("java_home", "/usr/lib/jvm/default-java")],
        compose: &[Compose::NameAs("tomcat_name")],
        note: Some("give catalina_home and java_home unless /usr/share/tomcat and /usr/lib/jvm/default-java are right"),
        ..BASE
    },
    Kind {
        name: "tomcat-5",
        title: "Tomcat 5",
        runs: ocf("tomcat"),
        attributes: &[
            NAME.required(),
            ignored("config_file", "the agent takes its settings from the attributes catalina_home and java_home"),
            same("tomcat_user"),
            to("catalina_options", "catalina_opts"),
            same("catalina_base"),
            same("catalina_home"),
            same("java_home"),
            SHUTDOWN_WAIT,
            SERVICE_NAME,
        ],
        fixed: &[("catalina_home", "/usr/share/tomcat5"), ("java_home", "/usr/lib/jvm/default-java")],
        compose: &[Compose::NameAs("tomcat_name")],
        note: Some(
            "give catalina_home and java_home unless /usr/share/tomcat5 and /usr/lib/jvm/default-java are right",
        ),
        ..BASE
    },
    Kind {
        name: "nfsserver",
        title: "NFS Server",
        runs: ocf("nfsserver"),
        attributes: &[
            NAME.required(),
            composed("path").inherits("mountpoint"),
            composed("nfspath"),
            ignored("statdport", "the port of statd stands in /etc/nfs.conf"),
            ignored("krbhost", "the Kerberos host name stands in /etc/nfs.conf"),
        ],
        compose: &[Compose::SharedNfsState],
        ..BASE
    },
    Kind {
        name: "nfsexport",
        title: "NFS v3 Export",
        runs: Runs::Grouping,
        attributes: &[
            NAME.required(),
            known("device").inherits("device"),
            known("path").inherits("mountpoint"),
            known("fsid").inherits("fsid"),
        ],
        ..BASE
    },
    Kind {
        name: "nfsclient",
        title: "NFS Client",
        runs: ocf("exportfs"),
        attributes: &[
            NAME.required(),
            to("target", "clientspec").required(),
            to("path", "directory").required().inherits("path"),
            known("svcname").inherits_from("service", "name"),
            composed("fsid").inherits("fsid"),
            same("options"),
            ignored("allow_recover", "recovery follows __independent_subtree"),
            SERVICE_NAME,
            known("use_cache").inherits_from("service", "nfs_client_cache"),
        ],
        compose: &[Compose::ExportId],
        ..BASE
    },
    Kind {
        name: "oracledb",
        title: "Oracle 10g/11g",
        runs: ocf("oracle"),
        attributes: &[
            NAME.required(),
            ignored("listener_name", "put an oralistener resource beside it"),
            same("user").required(),
            same("home").required(),
            ignored("type", "only the database itself is started"),
            ignored("vhost", "the listener is a resource of its own"),
            ignored("tns_admin", "the listener is a resource of its own"),
        ],
        compose: &[Compose::NameAs("sid")],
        note: Some("only the database is started; add <oralistener> for its listener"),
        ..BASE
    },
    Kind {
        name: "orainstance",
        title: "Oracle Instance",
        runs: ocf("oracle"),
        attributes: &[
            NAME.required(),
            same("user").required(),
            same("home").required(),
            ignored("listeners", "put an oralistener resource beside it"),
            ignored("lockfile", "not needed today"),
            ignored("tns_admin", "the listener is a resource of its own"),
        ],
        compose: &[Compose::NameAs("sid")],
        ..BASE
    },
    Kind {
        name: "oralistener",
        title: "Oracle Listener",
        runs: ocf("oralsnr"),
        attributes: &[
            NAME.required(),
            same("user").required(),
            same("home").required(),
            same("tns_admin").unique(),
            same("sid"),
        ],
        compose: &[Compose::NameAs("listener")],
        note: Some("give sid, the database whose listener this is"),
        ..BASE
    },
    Kind {
        name: "oradg",
        title: "Oracle Data Guard",
        runs: Runs::Not {
            reason: "Data Guard has its own broker, which decides by itself; use orainstance for a single database",
        },
        attributes: &[NAME.required()],
        free_attributes: true,
        ..BASE
    },
    Kind {
        name: "SAPDatabase",
        title: "SAP Database",
        runs: ocf("SAPDatabase"),
        primary: "SID",
        attributes: &[
            same("SID").required(),
            same("DIR_EXECUTABLE"),
            same("DBTYPE").required(),
            same("NETSERVICENAME"),
            same("DBJ2EE_ONLY"),
            same("JAVA_HOME"),
            same("STRICT_MONITORING"),
            same("AUTOMATIC_RECOVER"),
            same("DIR_BOOTSTRAP"),
            same("DIR_SECSTORE"),
            same("DB_JARS"),
            same("PRE_START_USEREXIT"),
            same("POST_START_USEREXIT"),
            same("PRE_STOP_USEREXIT"),
            same("POST_STOP_USEREXIT"),
        ],
        ..BASE
    },
    Kind {
        name: "SAPInstance",
        title: "SAP Instance",
        runs: ocf("SAPInstance"),
        primary: "InstanceName",
        attributes: &[
            same("InstanceName").required(),
            same("DIR_EXECUTABLE"),
            same("DIR_PROFILE"),
            same("START_PROFILE"),
            same("START_WAITTIME"),
            same("AUTOMATIC_RECOVER"),
            same("PRE_START_USEREXIT"),
            same("POST_START_USEREXIT"),
            same("PRE_STOP_USEREXIT"),
            same("POST_STOP_USEREXIT"),
        ],
        ..BASE
    },
    Kind {
        name: "ASEHAagent",
        title: "Sybase ASE",
        runs: ocf("sybaseASE"),
        attributes: &[
            NAME.required(),
            same("sybase_home").required(),
            same("sybase_ase"),
            same("sybase_ocs"),
            same("server_name").required(),
            ignored("login_file", "give db_user and db_passwd"),
            same("db_user"),
            same("db_passwd"),
            same("interfaces_file"),
            same("sybase_user"),
            ignored("shutdown_timeout", WAIT_WHY),
            ignored(
                "start_timeout",
                "the timeout of the start action takes its place: <action name=\"start\" timeout=\"…\"/>",
            ),
            ignored(
                "deep_probe_timeout",
                "the timeout of the status action takes its place: <action name=\"status\" timeout=\"…\"/>",
            ),
        ],
        note: Some("the agent needs db_user and db_passwd"),
        ..BASE
    },
    Kind {
        name: "db2",
        title: "DB2",
        runs: ocf("db2"),
        primary: "instance",
        attributes: &[same("instance").required().unique(), known("name"), same("dblist"), same("dbpartitionnum")],
        ..BASE
    },
    Kind {
        name: "drbd",
        title: "DRBD",
        runs: Runs::Not {
            reason: "DRBD's agent promotes and demotes, which services do not do; put \"drbdadm primary\" and \"secondary\" into an init script and use <script>",
        },
        attributes: &[NAME.required(), composed("resource").required().unique()],
        ..BASE
    },
    Kind {
        name: "vm",
        title: "Virtual Machine",
        runs: ocf("VirtualDomain"),
        attributes: &[
            NAME.required(),
            known("domain"),
            known("autostart"),
            known("exclusive"),
            known("recovery"),
            known("depend"),
            known("depend_mode"),
            known("max_restarts"),
            known("restart_expire_time"),
            known("priority"),
            ignored("migration_mapping", "give migration_network_suffix or migrateuri"),
            same("migration_network_suffix").reloads(),
            same("migrateuri").reloads(),
            same("migration_transport").reloads(),
            known("use_virsh"),
            composed("xmlfile"),
            composed("migrate").reloads(),
            same("migrate_options").reloads(),
            ignored("tunnelled", "write migrate_options=\"--tunnelled\""),
            composed("path"),
            same("snapshot"),
            to("status_program", "monitor_scripts").reloads(),
            composed("hypervisor"),
            composed("hypervisor_uri"),
            ignored("migration_uri", "write migrateuri, which the agent of today knows"),
            ignored("no_kill", "a guest that does not shut down in time is destroyed"),
        ],
        compose: &[Compose::DomainFile, Compose::PausedMigration],
        ..BASE
    },
];
