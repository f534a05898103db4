//! systemd's word on units: a connection to the system bus on which systemd tells what becomes of them.
//!
//! Runs beside the notice thread and says the same as it: "look now", never "has failed"; `is-active` judges. Where there is no bus, or it
//! goes, the node's status says so, and a unit is still seen by the processes in its cgroup and by the check at its interval. systemd
//! tells everything to whoever subscribes, so that what concerns no resource is thrown away here.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::{mpsc, watch};
use zbus::connection::Builder;
use zbus::message::{Message, Type};
use zbus::{Connection, MatchRule, MessageStream, Variant};

use super::{Noticed, Shared};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const UNITS_PATH: &str = "/org/freedesktop/systemd1/unit";
const BUS: &str = "org.freedesktop.DBus";

/// A bus that is there answers at once.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// Before the first new attempt to connect. A bus that is restarted is back by then.
const AGAIN_FIRST: Duration = Duration::from_secs(1);
/// Between later attempts: a machine without a bus gets none.
const AGAIN_MAX: Duration = Duration::from_secs(60);
/// Signals that wait for us. A boot or a reload of many units brings bursts.
const SIGNALS_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// In these states a unit does its work, or will without our doing.
const FINE: [&str; 4] = ["active", "activating", "reloading", "refreshing"];

/// What is known of the bus: why it tells nothing, or `None`: it tells.
pub(super) type Missing = Option<String>;

/// Before the first attempt has come to an end.
pub(super) const NOT_YET: &str = "not connected yet";

/// Listens until nobody takes its notices; connects anew for ever. `address` of the bus: the system's if `None`.
pub(super) async fn listen(
    address: Option<String>,
    shared: Arc<Shared>,
    notices: mpsc::Sender<Noticed>,
    missing: watch::Sender<Missing>,
) {
    let mut pause = AGAIN_FIRST;
    while !notices.is_closed() {
        let ended = match connect(address.as_deref()).await {
            Ok(mut signals) => {
                pause = AGAIN_FIRST;
                tell(&missing, None);
                // What happened while nobody listened.
                notice(&shared, &notices, |_| true);
                follow(&mut signals, &shared, &notices).await
            }
            Err(why) => why,
        };
        tell(&missing, Some(ended));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = notices.closed() => return,
        }
        pause = (pause * 2).min(AGAIN_MAX);
    }
}

/// Once per change, in the log and for the status.
fn tell(missing: &watch::Sender<Missing>, now: Missing) {
    missing.send_if_modified(|known| {
        let changed = *known != now;
        if changed {
            match &now {
                None => tracing::info!("systemd tells of units on its bus"),
                Some(why) => tracing::info!(
                    "systemd's bus is not listened to ({why}); units are seen by the processes in their cgroup and by their checks"
                ),
            }
            *known = now;
        }
        changed
    });
}

/// The signals of one connection.
struct Signals {
    _connection: Connection,
    all: futures_util::stream::SelectAll<MessageStream>,
}

async fn connect(address: Option<&str>) -> Result<Signals, String> {
    match tokio::time::timeout(ANSWER_WAIT, subscribe(address)).await {
        Ok(Ok(signals)) => Ok(signals),
        Ok(Err(error)) => Err(shared::chain(&error)),
        Err(_) => Err(format!("the bus does not answer within {ANSWER_WAIT:?}")),
    }
}

async fn subscribe(address: Option<&str>) -> zbus::Result<Signals> {
    let builder = address.map_or_else(Builder::system, Builder::address);
    let connection = builder.method_timeout(ANSWER_WAIT).build().await?;
    let signal = || MatchRule::builder().msg_type(Type::Signal);
    let of_units = signal()
        .sender(SYSTEMD)
        .interface("org.freedesktop.DBus.Properties")
        .member("PropertiesChanged")
        .path_namespace(UNITS_PATH)
        .add_arg(UNIT)
        .build()?;
    let of_manager = signal().sender(SYSTEMD).interface(MANAGER).path(MANAGER_PATH).build()?;
    let of_bus = signal().sender(BUS).interface(BUS).member("NameOwnerChanged").add_arg(SYSTEMD).build()?;
    let mut all = futures_util::stream::SelectAll::new();
    for rule in [of_units, of_manager, of_bus] {
        all.push(MessageStream::for_match_rule(rule, &connection, Some(SIGNALS_MAX)).await?);
    }
    // Without a subscriber systemd tells hardly anything. It forgets us when the connection ends.
    connection.call_method(Some(SYSTEMD), MANAGER_PATH, Some(MANAGER), "Subscribe", &()).await?;
    Ok(Signals { _connection: connection, all })
}

/// Takes signals until the connection ends; why it ended.
async fn follow(signals: &mut Signals, shared: &Shared, notices: &mpsc::Sender<Noticed>) -> String {
    loop {
        let signal = tokio::select! {
            signal = signals.all.next() => signal,
            () = notices.closed() => return "the daemon ends".to_owned(),
        };
        match signal {
            None => return "the bus has ended the connection".to_owned(),
            Some(Err(error)) => return shared::chain(&error),
            Some(Ok(message)) => match said(&message) {
                Said::Unit(path) => notice(shared, notices, |unit| *unit == path),
                // Its subscribers are forgotten with it: connect and subscribe again.
                Said::SystemdGone => return "systemd has left its bus".to_owned(),
                Said::Nothing => {}
            },
        }
    }
}

/// What a signal means for us.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// Something happened to the unit with this object path.
    Unit(String),
    SystemdGone,
    Nothing,
}

fn said(message: &Message) -> Said {
    let header = message.header();
    let member = header.member().map(|member| member.as_str().to_owned()).unwrap_or_default();
    let path = header.path().map(|path| path.as_str().to_owned()).unwrap_or_default();
    let body = message.body();
    let said = match member.as_str() {
        "PropertiesChanged" => {
            body.deserialize::<(String, BTreeMap<String, Variant<'_>>, Vec<String>)>().ok().and_then(|changed| {
                let (interface, properties, invalidated) = changed;
                let state = properties.get("ActiveState").and_then(|state| String::try_from(state).ok());
                let told = state.is_some_and(|state| !FINE.contains(&state.as_str()));
                let perhaps = invalidated.iter().any(|name| name == "ActiveState");
                (interface == UNIT && (told || perhaps)).then_some(path)
            })
        }
        "JobRemoved" => body.deserialize::<(u32, zbus::OwnedObjectPath, String, String)>().ok().and_then(|removed| {
            let (_, _, unit, result) = removed;
            (result != "done").then(|| path_of(&unit))
        }),
        "UnitRemoved" => body.deserialize::<(String, zbus::OwnedObjectPath)>().ok().map(|(unit, _)| path_of(&unit)),
        "NameOwnerChanged" => return Said::SystemdGone,
        _ => None,
    };
    said.map_or(Said::Nothing, Said::Unit)
}

/// Has the resources that are these units looked at.
fn notice(shared: &Shared, notices: &mpsc::Sender<Noticed>, concerns: impl Fn(&String) -> bool) {
    let targets = shared.targets.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, _) in targets.iter().filter(|(_, target)| target.unit.as_ref().is_some_and(&concerns)) {
        // Full: see NOTICES_MAX.
        let _ = notices.try_send((name.clone(), None));
    }
}

/// Where systemd shows a unit on the bus: its name with everything but letters and digits escaped.
pub(super) fn path_of(unit: &str) -> String {
    let mut path = format!("{UNITS_PATH}/");
    for (place, byte) in unit.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => path.push(char::from(byte)),
            b'0'..=b'9' if place > 0 => path.push(char::from(byte)),
            other => path.push_str(&format!("_{other:02x}")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{BufRead as _, BufReader};
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Stdio};
    use std::sync::Mutex;

    use rustix::event::{EventfdFlags, eventfd};
    use shared::ids::{ResourceName, ServiceName, Time};

    use super::super::{Notice, Target};
    use super::*;

    /// Debian's message bus, ours alone.
    struct Bus {
        daemon: Child,
        address: String,
    }

    impl Bus {
        fn start(folder: &Path) -> Self {
            let address = format!("unix:path={}", folder.join("bus").display());
            let conf = folder.join("bus.conf");
            let text = format!(
                "<busconfig><type>session</type><listen>{address}</listen><auth>EXTERNAL</auth>\
                 <policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>\
                 <allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>"
            );
            std::fs::write(&conf, text).unwrap();
            let mut daemon = Command::new("dbus-daemon")
                .arg(format!("--config-file={}", conf.display()))
                .args(["--nofork", "--print-address"])
                .stdout(Stdio::piped())
                .spawn()
                .expect("dbus-daemon, of Debian's package of that name");
            // Printed when it listens.
            let mut line = String::new();
            BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut line).unwrap();
            assert!(line.starts_with("unix:"), "{line:?}");
            Self { daemon, address }
        }
    }

    impl Drop for Bus {
        fn drop(&mut self) {
            let _ = self.daemon.kill();
            let _ = self.daemon.wait();
        }
    }

    /// Speaks as systemd does.
    struct Systemd {
        connection: Connection,
        calls: MessageStream,
    }

    impl Systemd {
        async fn start(bus: &Bus) -> Self {
            let connection = Builder::address(bus.address.as_str()).build().await.unwrap();
            let calls = MessageStream::from(&connection);
            connection.request_name(SYSTEMD).await.unwrap();
            Self { connection, calls }
        }

        /// Answers the one method that is asked for.
        async fn subscribed(&mut self) {
            while let Some(message) = self.calls.next().await {
                let message = message.unwrap();
                let header = message.header();
                if header.message_type() == Type::MethodCall
                    && header.member().is_some_and(|it| it.as_str() == "Subscribe")
                {
                    self.connection.reply(&header, &()).await.unwrap();
                    return;
                }
            }
            panic!("nobody has subscribed");
        }

        async fn state(&self, unit: &str, state: &str) {
            let changed = BTreeMap::from([("ActiveState", Variant::from(state)), ("SubState", Variant::from("x"))]);
            let body = (UNIT, changed, Vec::<String>::new());
            let path = path_of(unit);
            let none = None::<&str>;
            let emitted = self.connection.emit_signal(
                none,
                path.as_str(),
                "org.freedesktop.DBus.Properties",
                "PropertiesChanged",
                &body,
            );
            emitted.await.unwrap();
        }

        async fn job_removed(&self, unit: &str, result: &str) {
            let job = zbus::OwnedObjectPath::try_from("/org/freedesktop/systemd1/job/7").unwrap();
            let body = (7_u32, job, unit, result);
            self.connection.emit_signal(None::<&str>, MANAGER_PATH, MANAGER, "JobRemoved", &body).await.unwrap();
        }
    }

    fn name(resource: &str) -> Notice {
        Notice { service: ServiceName::parse("web"), resource: ResourceName::from(resource) }
    }

    /// Two units that run here.
    fn shared() -> Arc<Shared> {
        let target = |unit: &str| Target {
            address: None,
            directory: None,
            cgroup: None::<PathBuf>,
            unit: Some(path_of(unit)),
            since: Time(0),
        };
        let targets = [("systemd:nginx", "nginx.service"), ("systemd:db", "postgresql@15-main.service")];
        let targets = targets.map(|(resource, unit)| (name(resource), target(unit))).into();
        let wake = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        Arc::new(Shared { targets: Mutex::new(targets), wake })
    }

    type Heard = (mpsc::Receiver<Noticed>, watch::Receiver<Missing>);

    fn listening(bus: &Bus) -> Heard {
        let (give, notices) = mpsc::channel(16);
        let (tell, missing) = watch::channel(Some(NOT_YET.to_owned()));
        tokio::spawn(listen(Some(bus.address.clone()), shared(), give, tell));
        (notices, missing)
    }

    /// The next two notices are those that follow a connection: everything is looked at once.
    async fn looked_at_once(notices: &mut mpsc::Receiver<Noticed>) {
        for expected in ["systemd:db", "systemd:nginx"] {
            assert_eq!(notices.recv().await, Some((name(expected), None)));
        }
    }

    #[tokio::test]
    async fn a_unit_that_stops_is_looked_at_and_one_that_works_or_concerns_nobody_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let bus = Bus::start(folder.path());
        let mut systemd = Systemd::start(&bus).await;
        let (mut notices, mut missing) = listening(&bus);
        systemd.subscribed().await;
        missing.wait_for(Option::is_none).await.unwrap();
        looked_at_once(&mut notices).await;
        // Signals arrive in order: what is not to be noticed would come before what is.
        systemd.state("nginx.service", "reloading").await;
        systemd.state("nginx.service", "active").await;
        systemd.state("ssh.service", "failed").await;
        systemd.job_removed("nginx.service", "done").await;
        systemd.state("postgresql@15-main.service", "failed").await;
        assert_eq!(notices.recv().await, Some((name("systemd:db"), None)));
        systemd.state("nginx.service", "deactivating").await;
        assert_eq!(notices.recv().await, Some((name("systemd:nginx"), None)));
        systemd.job_removed("postgresql@15-main.service", "timeout").await;
        assert_eq!(notices.recv().await, Some((name("systemd:db"), None)));
    }

    #[tokio::test]
    async fn a_bus_that_goes_is_told_and_what_it_told_meanwhile_is_looked_for_when_it_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let bus = Bus::start(folder.path());
        let (mut notices, mut missing) = listening(&bus);
        // Nobody there has the name of systemd.
        let said = missing.wait_for(|missing| missing.as_deref() != Some(NOT_YET)).await.unwrap().clone();
        assert!(said.is_some(), "{said:?}");
        let mut systemd = Systemd::start(&bus).await;
        systemd.subscribed().await;
        missing.wait_for(Option::is_none).await.unwrap();
        looked_at_once(&mut notices).await;
        drop(bus);
        missing.wait_for(Option::is_some).await.unwrap();
        let bus = Bus::start(folder.path());
        let mut systemd = Systemd::start(&bus).await;
        systemd.subscribed().await;
        missing.wait_for(Option::is_none).await.unwrap();
        looked_at_once(&mut notices).await;
        // systemd itself is replaced, as by `systemctl daemon-reexec`: subscribed to again.
        drop(systemd);
        missing.wait_for(Option::is_some).await.unwrap();
        let mut systemd = Systemd::start(&bus).await;
        systemd.subscribed().await;
        looked_at_once(&mut notices).await;
    }

    #[test]
    fn the_path_of_a_unit_is_escaped_as_systemd_does() {
        for (unit, path) in [
            ("nginx.service", "nginx_2eservice"),
            ("postgresql@15-main.service", "postgresql_4015_2dmain_2eservice"),
            ("7zip.service", "_37zip_2eservice"),
            ("a_b.mount", "a_5fb_2emount"),
        ] {
            assert_eq!(path_of(unit), format!("{UNITS_PATH}/{path}"));
        }
    }
}
