//! Servers from the distribution's packages, one service tree each: started, checked, killed, moved by a power cut. The databases
//! lie on file systems that all hosts reach (loop devices, as a shared disk is), and a client goes on writing until the power
//! goes: no row that was committed may be missing afterwards.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops where it cannot look, and tells what it counted"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use lab::cluster::{Cluster, ClusterOptions, web_service};
use lab::{Place, wait_for};
use shared::text::ServiceState;

const SOON: Duration = Duration::from_secs(90);
const MARIA: &str = "10.77.0.111";
const POSTGRES: &str = "10.77.0.112";
const NGINX: &str = "10.77.0.113";
const CACHE: &str = "10.77.0.114";
const SERVICES: [&str; 6] = ["web", "maria", "postgres", "redis", "cache", "nginx"];

/// A file system in a file behind a loop device, for as long as this lives.
struct Disk {
    device: String,
    _image: tempfile::TempDir,
}

impl Disk {
    /// Filled by `fill`, which gets an empty folder.
    fn with(fill: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The servers' own users make their files in it.
        run(Command::new("chmod").arg("755").arg(folder.path()));
        let (content, image) = (folder.path().join("content"), folder.path().join("image"));
        std::fs::create_dir(&content).unwrap();
        fill(&content);
        run(Command::new("truncate").args(["-s", "512M"]).arg(&image));
        run(Command::new("mkfs.ext4").args(["-q", "-d"]).arg(&content).arg(&image));
        std::fs::remove_dir_all(&content).unwrap();
        let device = run(Command::new("losetup").args(["--find", "--show"]).arg(&image));
        Self { device: device.trim().to_owned(), _image: folder }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A device that is still in use goes with its last user.
        let _ = Command::new("losetup").args(["--detach", &self.device]).status();
    }
}

fn run(command: &mut Command) -> String {
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&done.stderr));
    said
}

fn owned_folder(path: PathBuf, user: &str) -> String {
    std::fs::create_dir(&path).unwrap();
    run(Command::new("chown").arg(format!("{user}:")).arg(&path));
    path.to_str().unwrap().to_owned()
}

fn mariadb_disk() -> Disk {
    Disk::with(|folder| {
        let data = owned_folder(folder.join("data"), "mysql");
        run(Command::new("mariadb-install-db")
            .args(["--user=mysql", "--auth-root-authentication-method=socket"])
            .arg(format!("--datadir={data}")));
    })
}

fn postgres_disk() -> Disk {
    Disk::with(|folder| {
        let data = owned_folder(folder.join("data"), "postgres");
        let make = format!("$(ls -d /usr/lib/postgresql/*/bin | tail -1)/initdb -A trust -D {data}");
        run(Command::new("su").args(["postgres", "-s", "/bin/sh", "-c", &make]).current_dir("/"));
        let hba = folder.join("data/pg_hba.conf");
        let text = std::fs::read_to_string(&hba).unwrap();
        std::fs::write(&hba, format!("{text}host all all 10.77.0.0/24 trust\n")).unwrap();
        let conf = folder.join("data/postgresql.conf");
        let text = std::fs::read_to_string(&conf).unwrap();
        std::fs::write(&conf, format!("{text}listen_addresses = '*'\nunix_socket_directories = '/run/pg'\n")).unwrap();
    })
}

fn options(maria: &Disk, postgres: &Disk) -> ClusterOptions {
    let mut options = ClusterOptions::web(3);
    let bin = run(Command::new("sh").args(["-c", "ls -d /usr/lib/postgresql/*/bin | tail -1"]));
    options.rm = format!(
        "<failoverdomains><failoverdomain name=\"d\" ordered=\"1\" nofailback=\"1\">\
         <failoverdomainnode name=\"node1\" priority=\"1\"/><failoverdomainnode name=\"node2\" priority=\"2\"/>\
         </failoverdomain></failoverdomains>\n{}\
         <service name=\"maria\" autostart=\"0\" domain=\"d\"><fs name=\"maria\" device=\"{}\" mountpoint=\"/srv/maria\" fstype=\"ext4\">\
         <ip address=\"{MARIA}/24\"><mysql name=\"maria\" binary=\"/usr/sbin/mariadbd\" config_file=\"/etc/lab-maria.cnf\" \
         datadir=\"/srv/maria/data\" user=\"mysql\" group=\"mysql\" pid=\"/run/lab-maria/mysqld.pid\" \
         socket=\"/run/lab-maria/mysqld.sock\" log=\"/srv/maria/error.log\" listen_address=\"{MARIA}\"/></ip></fs></service>\n\
         <service name=\"postgres\" autostart=\"0\" domain=\"d\"><fs name=\"postgres\" device=\"{}\" mountpoint=\"/srv/postgres\" fstype=\"ext4\">\
         <ip address=\"{POSTGRES}/24\"><postgres-8 name=\"pg\" postmaster_options=\"-D /srv/postgres/data\" \
         config_file=\"/srv/postgres/data/postgresql.conf\" pgctl=\"{bin}/pg_ctl\" psql=\"{bin}/psql\" socketdir=\"/run/pg\" \
         logfile=\"/var/log/lab-postgres.log\"/></ip></fs></service>\n\
         <service name=\"redis\" domain=\"d\"><script name=\"redis\" file=\"/etc/init.d/redis-server\"/></service>\n\
         <service name=\"cache\" domain=\"d\"><ip address=\"{CACHE}/24\"><ocf name=\"cache\" type=\"anything\" \
         binfile=\"/usr/bin/redis-server\" pidfile=\"/run/lab-cache.pid\" logfile=\"/var/log/lab-cache.log\" \
         cmdline_options=\"--port 6400 --bind {CACHE} --protected-mode no --save ''\"/></ip></service>\n\
         <service name=\"nginx\" domain=\"d\"><ip address=\"{NGINX}/24\"><ocf name=\"nginx\" type=\"nginx\" \
         httpd=\"/usr/sbin/nginx\" configfile=\"/etc/lab-nginx.conf\" port=\"8080\"/></ip></service>\n",
        web_service(" domain=\"d\""),
        maria.device,
        postgres.device,
        bin = bin.trim(),
    );
    // The agent reads the lines of it that begin with a word it knows.
    let nginx = "pid /run/nginx.pid;\nerror_log /var/log/nginx/error.log;\nevents {}\nhttp {\n access_log off;\n server {\n  listen 8080;\n  location / { return 200 \"nginx\\n\"; }\n }\n}\n";
    options.files = vec![
        ("/etc/lab-maria.cnf".into(), "[mysqld]\nskip-name-resolve\ninnodb_flush_log_at_trx_commit=1\n".into(), 0o644),
        ("/etc/lab-nginx.conf".into(), nginx.into(), 0o644),
        ("/srv/maria/empty".into(), String::new(), 0o644),
        ("/srv/postgres/empty".into(), String::new(), 0o644),
    ];
    options
}

fn all_on(cluster: &Cluster, seen_by: usize, owner: usize) {
    for service in SERVICES {
        cluster.wait_owner(seen_by, service, owner, SOON).unwrap();
    }
}

/// The words that ask a database of the client's network; the statement follows.
fn client(database: &str) -> String {
    match database {
        "maria" => format!("mariadb --connect-timeout=3 -h {MARIA} -u lab -BN lab -e"),
        _ => format!("PGCONNECT_TIMEOUT=3 psql -h {POSTGRES} -U postgres -qAt -d postgres -c"),
    }
}

fn ask(cluster: &Cluster, database: &str, statement: &str) -> Option<String> {
    let said = cluster.lab.sh(Place::Client, &format!("{} \"{statement}\"", client(database))).ok()?;
    said.ok().then_some(said.stdout.trim().to_owned())
}

fn prepare(cluster: &Cluster) {
    let grant = "create database lab; create user lab@'%'; grant all on lab.* to lab@'%'";
    let root = format!("mariadb -S /run/lab-maria/mysqld.sock -u root -e \"{grant}\"");
    cluster.lab.sh_ok(Place::Host(1), &root).unwrap();
    for database in ["maria", "postgres"] {
        ask(cluster, database, "create table t (n int primary key)").unwrap();
    }
}

/// Writes rows one by one, each committed before the next, until the database is gone; what was committed.
fn write_until_gone(cluster: &Cluster, database: &str) -> Vec<u32> {
    let write = format!(
        "n=1; while {} \"insert into t values ($n)\" 2>/dev/null; do echo $n; n=$((n+1)); done; true",
        client(database)
    );
    let said = cluster.lab.sh_ok(Place::Client, &write).unwrap();
    said.lines().filter_map(|line| line.parse().ok()).collect()
}

#[test]
fn packaged_servers_are_started_checked_killed_and_moved_and_no_committed_row_is_lost() {
    let (maria, postgres) = (mariadb_disk(), postgres_disk());
    let cluster = Arc::new(Cluster::boot(options(&maria, &postgres)).unwrap());
    cluster.formed().unwrap();
    // A host sees no block devices of the machine by itself.
    for (host, disk) in (1..=3).flat_map(|host| [(host, &maria), (host, &postgres)]) {
        let number = disk.device.trim_start_matches("/dev/loop");
        cluster.lab.sh_ok(Place::Host(host), &format!("mknod {} b 7 {number}", disk.device)).unwrap();
    }
    for service in ["maria", "postgres"] {
        cluster.lab.sh_ok(Place::Host(1), &format!("clusvcadm -e {service} -m node1")).unwrap();
    }
    for service in SERVICES {
        // The domain prefers node1, and nothing but its absence when the cluster was formed is a reason to begin elsewhere.
        if !cluster.log(1).contains("formed by node1") {
            cluster.wait_state(1, service, ServiceState::Started, SOON).unwrap();
            cluster.lab.sh_ok(Place::Host(1), &format!("clusvcadm -r {service} -m node1")).unwrap();
        }
        cluster.wait_owner(1, service, 1, SOON).unwrap();
    }
    // Killed: the kernel tells, the service is back before any interval would have found it.
    for (service, processes) in [
        ("maria", "pidof mariadbd"),
        ("postgres", "pidof postgres"),
        ("redis", "cat /run/redis/redis-server.pid"),
        ("cache", "cat /run/lab-cache.pid"),
        ("nginx", "pidof nginx"),
        ("web", "pidof apache2"),
    ] {
        let before = cluster.service(1, service).unwrap().last_transition;
        // A master that saw its worker die would start another, which would outlive it and hold the port: none acts any more
        // when the first is killed. A helper may be gone before its turn comes; one of them has to be there.
        let kill = format!(
            "all=$({processes}); for one in $all; do kill -STOP $one; done\n\
             killed=; for one in $all; do kill -9 $one && killed=1; done; [ $killed ]"
        );
        cluster.lab.sh_ok(Place::Host(1), &kill).unwrap();
        let back = wait_for("the killed server to be back", SOON, || {
            let now = cluster.service(1, service)?;
            (now.state == ServiceState::Started && now.last_transition > before).then_some(())
        });
        back.unwrap_or_else(|error| panic!("{service}: {error:#}\n{}", cluster.log(1)));
    }
    all_on(&cluster, 1, 1);
    prepare(&cluster);
    let writers: Vec<_> = ["maria", "postgres"]
        .map(|database| {
            let cluster = Arc::clone(&cluster);
            (database, std::thread::spawn(move || write_until_gone(&cluster, database)))
        })
        .into_iter()
        .collect();
    wait_for("rows in both databases", SOON, || {
        let rows = |database| ask(&cluster, database, "select count(*) from t")?.parse::<u32>().ok();
        (rows("maria")? > 20 && rows("postgres")? > 20).then_some(())
    })
    .unwrap();
    cluster.lab.power_off(1).unwrap();
    let committed: Vec<_> = writers.into_iter().map(|(name, writer)| (name, writer.join().unwrap())).collect();
    all_on(&cluster, 2, 2);
    for (database, rows) in committed {
        let there = ask(&cluster, database, "select n from t order by n").unwrap();
        let there: Vec<u32> = there.lines().filter_map(|line| line.parse().ok()).collect();
        println!("{database}: {} rows committed before the cut, {} there after it", rows.len(), there.len());
        let missing: Vec<_> = rows.iter().filter(|row| !there.contains(row)).collect();
        assert!(rows.len() > 20 && missing.is_empty(), "{database} lost {missing:?}");
    }
    let page = cluster.lab.sh_ok(Place::Client, &format!("curl -sf http://{NGINX}:8080/")).unwrap();
    assert_eq!(page, "nginx\n");
    let ping = |place, words: &str| cluster.lab.sh_ok(place, &format!("redis-cli {words} ping")).unwrap();
    assert_eq!(ping(Place::Host(2), "").trim(), "PONG");
    assert_eq!(ping(Place::Client, &format!("-h {CACHE} -p 6400")).trim(), "PONG");
}
