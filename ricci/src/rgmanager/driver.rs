//! The one loop of the daemon: takes what the adapters report, hands it to the engine as an event, and has the
//! adapters do what the engine wants.
//!
//! Started by `start`; ends when the engine says so. Translates and carries, decides nothing, waits for nothing but
//! the next report: whatever may take long runs beside it and reports back.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Action, ConfText, Engine, Event, ExitReason, FenceId, Incarnation, Intents};
use shared::conf::corosync::{RenderOptions, render_corosync_conf};
use shared::conf::model::{Conf, FenceInstance, FenceMethod, Service};
use shared::conf::{Finding, Severity, judge};
use shared::ids::{BootId, NodeId, NodeName, ServiceName};
use shared::socket::{FenceOperation, PutConf};
use shared::status::{FenceAttempt, FenceDeviceRun};
use shared::why::{Assumption, Prediction};
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::agents::{RunFinished, Runs};
use super::clock::Clock;
use super::control::{self, ConfInForce, Question};
use super::disk::{Disk, Done};
use super::fence::{self, FenceAction};
use super::files::Files;
use super::group::{self, Group};
use super::notice::{self, Notice, Noticed, Watched};
use super::plan;
use super::publish::Feed;
use super::reboot;
use super::start::{Options, StartError};
use super::started::Started;
use super::times::Times;
use super::waiting::Waiting;
use super::watchdog::{Watchdog, WatchdogError};
use crate::corosync::{self, Corosync, Handle, MulticastError, SpawnError, query};

/// The CPG group.
const GROUP: &str = "rgmanager";

/// Reports of runs, fences and disk that wait for the loop. It takes each within a moment; a full channel holds
/// back the reporter only.
const REPORTS_MAX: usize = 1024;
/// Questions that wait for the loop.
const QUESTIONS_MAX: usize = 64;
/// Messages kept while corosync takes none. It takes some again within milliseconds, or it is gone.
const OUTBOX_MAX: usize = 10_000;
/// Before a message that corosync did not take is offered again.
const OUTBOX_RETRY: Duration = Duration::from_millis(3);
/// For how long a changed status waits for further changes, so that a burst (a node lost with hundreds of services)
/// is drawn up once and not hundreds of times.
const STATUS_GATHERING: Duration = Duration::from_millis(5);
/// Between two attempts to join the group while corosync is not there yet.
const JOIN_PAUSE: Duration = Duration::from_secs(1);
/// Attempts to join. A corosync that starts takes some seconds; one that stays away is a failed start.
const JOIN_ATTEMPTS: u32 = 30;
/// For a question to corosync beside the loop.
const COROSYNC_DEADLINE: Duration = Duration::from_secs(2);
/// Between writing corosync.conf here and the reload everywhere: the other members write theirs at the same moment. A reload
/// that finds nothing new does nothing, so it is asked for soon, and once more for those whose disk is slow.
const RELOAD_DELAYS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];
/// Last lines of a failing agent that go into the log.
const OUTPUT_LINES_LOGGED: usize = 20;
/// For the threads to end once there is nothing more to do.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// What the engine is told first.
pub(super) struct Booted {
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) boot: BootId,
    pub(super) conf: ConfText,
    pub(super) intents: Option<Intents>,
    pub(super) started: BTreeMap<ServiceName, Vec<Service>>,
}

/// Everything that can wake the loop.
pub(super) struct Reports {
    runs: mpsc::Receiver<RunFinished>,
    fences: mpsc::Receiver<FenceEnded>,
    disk: mpsc::Receiver<Done>,
    questions: mpsc::Receiver<Question>,
    notices: mpsc::Receiver<Noticed>,
    bus: watch::Receiver<Option<String>>,
    beside: mpsc::Receiver<Beside>,
    corosync: Option<mpsc::Receiver<corosync::Event>>,
    pub(super) terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    replace: Signal,
}

/// Results of what runs beside the loop.
enum Beside {
    Joined(Result<(Handle, mpsc::Receiver<corosync::Event>), SpawnError>),
    Votes {
        ring_seq: u64,
        votes: u32,
        votes_expected: u32,
    },
    Times(Times),
    Judged(Judged),
    /// Votes as corosync counts them now, for a prediction that waits for them.
    Counted {
        ring_seq: u64,
        counted: Option<(u32, u32)>,
        assumption: Assumption,
        reply: oneshot::Sender<Prediction>,
    },
}

/// The agents have been asked about an offered configuration.
struct Judged {
    text: String,
    origin: String,
    despite_agents: bool,
    findings: Vec<Finding>,
    reply: oneshot::Sender<PutConf>,
}

/// A fence method has been run for the engine.
struct FenceEnded {
    id: FenceId,
    succeeded: bool,
    devices: Vec<FenceDeviceRun>,
}

/// One thing that woke the loop.
enum Woken {
    Corosync(Option<corosync::Event>),
    Run(RunFinished),
    Fence(FenceEnded),
    Disk(Done),
    Question(Question),
    Notice(Noticed),
    Beside(Beside),
    Timer,
    StatusDue,
    BusChanged,
    OutboxDue,
    LeaveWanted(&'static str),
    RestartWanted,
    Ignored,
}

/// The loop and what it holds.
pub(super) struct Driver {
    engine: Engine,
    clock: Clock,
    options: Options,
    runs: Runs,
    disk: Disk,
    started: Started,
    watchdog: Watchdog,
    /// This node is to be reset: the watchdog gets nothing any more.
    starving: bool,
    feed: Feed,
    waiting: Waiting,
    watched: Watched,
    times: Times,
    corosync: Option<Handle>,
    group: Group,
    /// Messages that corosync has not taken yet, in order.
    outbox: VecDeque<Vec<u8>>,
    /// The last word on quorum, to be said again with votes.
    quorum: Option<corosync::Event>,
    /// The engine has asked to join: what it runs from now on are no probes.
    probed: bool,
    in_force: Option<ConfText>,
    conf: Option<Arc<Conf>>,
    leavers: Vec<oneshot::Sender<()>>,
    status_due: Option<Instant>,
    joins_failed: u32,
    exit: Option<ExitReason>,
    /// For the engine, in order.
    events: VecDeque<Event>,
    fences: mpsc::Sender<FenceEnded>,
    beside: mpsc::Sender<Beside>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
    server: Option<JoinHandle<()>>,
}

impl Driver {
    /// Makes everything ready; the control socket answers from here on.
    pub(super) fn start(options: Options, files: Files, listener: UnixListener) -> Result<(Self, Reports), StartError> {
        let clock = Clock::start();
        let engine = Engine::new(engine::law::check).speaking(options.protocol);
        let feed = Feed::new(uuid::Uuid::new_v4().to_string(), engine.status(clock.now()));
        let (run_ended, runs) = mpsc::channel(REPORTS_MAX);
        let (fence_ended, fences) = mpsc::channel(REPORTS_MAX);
        let (written, disk) = mpsc::channel(REPORTS_MAX);
        let (ask, questions) = mpsc::channel(QUESTIONS_MAX);
        let (done_beside, beside) = mpsc::channel(REPORTS_MAX);
        let (watched, notices) = notice::start(options.cgroups.clone())?;
        let stop = CancellationToken::new();
        let server = tokio::spawn(control::serve(listener, feed.clone(), ask, stop.clone()));
        let reports = Reports {
            runs,
            fences,
            disk,
            questions,
            notices,
            bus: watched.bus(),
            beside,
            corosync: None,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            replace: signal(SignalKind::user_defined2())?,
        };
        let driver = Self {
            engine,
            clock,
            runs: Runs::new(options.places.clone(), options.cgroups.clone().ok(), run_ended),
            disk: Disk::start(files, written)?,
            started: Started::new(options.places.started.clone()),
            watchdog: Watchdog::default(),
            starving: false,
            options,
            feed,
            waiting: Waiting::default(),
            watched,
            times: Times::default(),
            corosync: None,
            group: Group::of(corosync::Member { node: NodeId(0), pid: std::process::id() }),
            outbox: VecDeque::new(),
            quorum: None,
            probed: false,
            in_force: None,
            conf: None,
            leavers: Vec::new(),
            status_due: None,
            joins_failed: 0,
            exit: None,
            events: VecDeque::new(),
            fences: fence_ended,
            beside: done_beside,
            tasks: JoinSet::new(),
            stop,
            server: Some(server),
        };
        Ok((driver, reports))
    }

    /// Runs to the engine's end.
    pub(super) async fn drive(mut self, mut reports: Reports, booted: Booted) -> Result<ExitReason, StartError> {
        let Booted { node, incarnation, boot, conf, intents, started } = booted;
        self.group = Group::of(corosync::Member { node, pid: std::process::id() });
        self.use_conf(&conf);
        // Whoever asks for one does not want services here without it.
        self.arm_watchdog()?;
        // Laid there by hand or by ricci, it is not among the versions yet, and the next one would be its end.
        if self.conf.is_some()
            && let Err(why) = self.disk.store(conf.clone())
        {
            tracing::warn!("configuration {} is not kept among the versions: {why}", conf.version);
        }
        self.happen(Event::Booted { node, incarnation, boot, conf, intents, started });
        let reason = loop {
            self.settle();
            // Here and nowhere else: only a loop that turns may keep the node from being reset.
            if !self.starving {
                self.watchdog.feed(Instant::now());
            }
            if let Some(reason) = self.exit.take() {
                break reason;
            }
            let woken = self.wait(&mut reports).await;
            self.take(woken, &mut reports);
        };
        if !self.starving && leaves_nothing_running(&reason) {
            self.watchdog.disarm();
        }
        self.end(reports).await;
        Ok(reason)
    }

    async fn wait(&mut self, reports: &mut Reports) -> Woken {
        let timer = self.engine.next_timeout(self.clock.now()).map(|time| self.clock.instant_of(time));
        let retry = (!self.outbox.is_empty()).then(|| Instant::now() + OUTBOX_RETRY);
        // The tasks that have ended are collected here; they have reported by their channels.
        while self.tasks.try_join_next().is_some() {}
        tokio::select! {
            event = next(&mut reports.corosync) => Woken::Corosync(event),
            Some(finished) = reports.runs.recv() => Woken::Run(finished),
            Some(ended) = reports.fences.recv() => Woken::Fence(ended),
            Some(done) = reports.disk.recv() => Woken::Disk(done),
            Some(question) = reports.questions.recv() => Woken::Question(question),
            Some(notice) = reports.notices.recv() => Woken::Notice(notice),
            Some(result) = reports.beside.recv() => Woken::Beside(result),
            Ok(()) = reports.bus.changed() => Woken::BusChanged,
            () = at(timer) => Woken::Timer,
            () = at(self.status_due) => Woken::StatusDue,
            () = at(retry) => Woken::OutboxDue,
            () = at(self.watchdog.due().filter(|_| !self.starving)) => Woken::Ignored,
            _ = reports.terminate.recv() => Woken::LeaveWanted("SIGTERM"),
            _ = reports.interrupt.recv() => Woken::LeaveWanted("SIGINT"),
            _ = reports.hang_up.recv() => Woken::Ignored,
            _ = reports.replace.recv() => Woken::RestartWanted,
        }
    }

    fn take(&mut self, woken: Woken, reports: &mut Reports) {
        match woken {
            Woken::Corosync(event) => self.take_corosync(event, reports),
            Woken::Run(finished) => {
                // What the probes say is no failure: most of what is configured does not run here.
                if self.probed && finished.code != Some(0) {
                    log_output(&finished);
                }
                let RunFinished { id, code, output, duration_ms, .. } = finished;
                tracing::debug!("run {} ended with {code:?} after {duration_ms} ms", id.0);
                self.happen(Event::RunFinished { id, code, output });
            }
            Woken::Fence(FenceEnded { id, succeeded, devices }) => {
                self.happen(Event::FenceFinished { id, succeeded, devices });
            }
            Woken::Disk(done) => self.take_disk(done),
            Woken::Question(question) => self.take_question(question),
            Woken::Notice((Notice { service, resource }, evidence)) => {
                tracing::debug!("the kernel says that something happened to {resource} of {service}");
                self.happen(Event::Noticed { service, resource, evidence });
            }
            Woken::Beside(Beside::Joined(joined)) => self.take_joined(joined, reports),
            Woken::Beside(Beside::Votes { ring_seq, votes, votes_expected }) => {
                self.take_votes(ring_seq, votes, votes_expected);
            }
            Woken::Beside(Beside::Times(times)) => self.times = times,
            Woken::Beside(Beside::Judged(judged)) => self.take_judged(judged),
            Woken::Beside(Beside::Counted { ring_seq, counted, assumption, reply }) => {
                if let Some((votes, votes_expected)) = counted {
                    self.take_votes(ring_seq, votes, votes_expected);
                    self.settle();
                }
                drop(reply.send(self.engine.predict(self.clock.now(), &assumption)));
            }
            Woken::Timer => self.happen(Event::TimePassed),
            Woken::StatusDue => self.publish(),
            Woken::BusChanged => self.status_changes(),
            Woken::OutboxDue => self.send_outbox(),
            Woken::LeaveWanted(why) => {
                tracing::info!("leaving the cluster because of {why}");
                self.happen(Event::LeaveRequested);
            }
            Woken::RestartWanted => {
                tracing::info!("ending for a successor because of SIGUSR2; what runs here goes on");
                self.happen(Event::RestartRequested);
            }
            Woken::Ignored => {}
        }
    }

    /// Keeps an event for the engine. Not handed over at once: what the engine wanted before is done first, in its
    /// order.
    fn happen(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Tells the engine all that has happened and does what it wants.
    fn settle(&mut self) {
        while let Some(event) = self.events.pop_front() {
            let actions = self.engine.handle(self.clock.now(), event);
            for action in actions {
                self.perform(action);
            }
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::JoinGroup => {
                self.probed = true;
                self.join_group(Duration::ZERO);
            }
            Action::LeaveGroup => self.leave_group(),
            Action::Multicast(message) => {
                self.outbox.push_back(message.encode());
                self.send_outbox();
            }
            Action::RunAgent { id, run } => match plan::plan(id, &run, !self.probed, &self.times) {
                Ok(spec) => {
                    let (resource, operation) = (&spec.resource, spec.operation.name());
                    tracing::debug!("run {} begins: {} {resource} {operation}", id.0, spec.service);
                    self.runs.start(spec);
                }
                Err(RunFinished { id, code, output, .. }) => self.happen(Event::RunFinished { id, code, output }),
            },
            Action::AbortRun { id } => self.runs.abort(id),
            Action::RunFence { id, victim, method } => self.run_fence(id, &victim, method),
            Action::Reboot { services, reason } => {
                // Should the kernel refuse, the device does it.
                self.starving = true;
                reboot::reset(&self.options.sysrq, &services, &reason);
            }
            Action::StoreConf { conf } => {
                let (version, digest) = (conf.version, conf.digest.clone());
                if let Err(why) = self.disk.store(conf) {
                    self.happen(Event::ConfStored { version, digest, stored: Err(why) });
                }
            }
            Action::SwitchConf { conf, reload_corosync } => self.switch_conf(conf, reload_corosync),
            Action::ReloadCorosync => self.reload_corosync(),
            Action::KeepStarted { service, trees } => {
                if let Err(error) = self.started.keep(&service, trees) {
                    tracing::error!(
                        "what {service} runs here cannot be kept in {}: {error}; free space in /run",
                        self.options.places.started.display()
                    );
                }
            }
            Action::SaveIntents(intents) => match serde_json::to_vec(&intents) {
                Ok(content) => self.disk.save_intents(content),
                Err(error) => tracing::error!("intents cannot be written: {error}"),
            },
            // Who is told the end of something and then looks must see it.
            Action::Answer { id, answer } => {
                self.publish();
                self.waiting.answer(&id, &answer);
            }
            Action::Finish { id, outcome } => {
                if self.waiting.is_awaited(&id) {
                    self.publish();
                }
                self.waiting.finish(id, outcome);
            }
            Action::AnswerConf { offer, result } => {
                self.publish();
                self.waiting.answer_offer(offer, result);
            }
            Action::Publish(fact) => {
                self.feed.tell(fact);
                self.status_changes();
            }
            Action::StatusChanged => self.status_changes(),
            Action::Exit { reason } => self.exit = Some(reason),
        }
    }

    // corosync

    fn join_group(&mut self, after: Duration) {
        let done = self.beside.clone();
        self.tasks.spawn(async move {
            tokio::time::sleep(after).await;
            let joined = tokio::task::spawn_blocking(|| Corosync::spawn(GROUP)).await;
            let joined = joined.unwrap_or(Err(SpawnError::Ended));
            // The loop has ended if nobody takes it, and the membership ends with the handle.
            let _ = done.send(Beside::Joined(joined)).await;
        });
    }

    fn take_joined(
        &mut self,
        joined: Result<(Handle, mpsc::Receiver<corosync::Event>), SpawnError>,
        reports: &mut Reports,
    ) {
        match joined {
            Ok((handle, events)) => {
                self.corosync = Some(handle);
                reports.corosync = Some(events);
                self.send_outbox();
            }
            Err(error) => {
                self.joins_failed += 1;
                if self.joins_failed >= JOIN_ATTEMPTS {
                    tracing::error!("{}", shared::chain(&error));
                    return self.happen(Event::CorosyncLost);
                }
                tracing::warn!("{}; trying again", shared::chain(&error));
                self.join_group(JOIN_PAUSE);
            }
        }
    }

    fn take_corosync(&mut self, event: Option<corosync::Event>, reports: &mut Reports) {
        let Some(event) = event else {
            // The stream ends after we have left, and after a loss that was told.
            reports.corosync = None;
            self.corosync = None;
            return;
        };
        match event {
            corosync::Event::MembershipChanged { members, left, joined } => {
                let joined: Vec<_> = joined.into_iter().map(|(new, _)| new).collect();
                let group::Change { members, left, joined } = self.group.change(&members, &left, &joined);
                self.happen(Event::MembershipChanged { members, left, joined });
            }
            corosync::Event::RingChanged { ring, members } => {
                self.happen(Event::RingChanged { ring_seq: ring.seq, members });
            }
            corosync::Event::Delivered { from, payload } => match self.group.read(Instant::now(), from, &payload) {
                Ok(message) => self.happen(Event::Delivered { from: from.node, message: Box::new(message) }),
                Err(Some(nonsense)) => tracing::warn!("{nonsense}"),
                Err(None) => {}
            },
            corosync::Event::QuorumChanged { ring_seq, quorate, ref members } => {
                let members = members.clone();
                self.quorum = Some(event);
                self.happen(Event::QuorumChanged { ring_seq, quorate, votes: None, votes_expected: None, members });
                self.ask_votes(ring_seq);
            }
            corosync::Event::Lost { reason } => {
                tracing::error!("the connection to corosync is lost: {reason}");
                self.corosync = None;
                self.outbox.clear();
                self.happen(Event::CorosyncLost);
            }
        }
    }

    /// The quorum service does not tell votes; they are for people, and come a moment later.
    fn ask_votes(&mut self, ring_seq: u64) {
        let done = self.beside.clone();
        self.tasks.spawn(async move {
            match query::votes(COROSYNC_DEADLINE).await {
                Ok(counted) => {
                    let (votes, votes_expected) = (counted.votes_total, counted.votes_expected);
                    let _ = done.send(Beside::Votes { ring_seq, votes, votes_expected }).await;
                }
                Err(error) => tracing::debug!("votes are not known: {}", shared::chain(&error)),
            }
        });
    }

    fn take_votes(&mut self, ring_seq: u64, votes: u32, votes_expected: u32) {
        let Some(corosync::Event::QuorumChanged { ring_seq: newest, quorate, members }) = &self.quorum else { return };
        if *newest != ring_seq {
            return;
        }
        let (quorate, members) = (*quorate, members.clone());
        let (votes, votes_expected) = (Some(votes), Some(votes_expected));
        self.happen(Event::QuorumChanged { ring_seq, quorate, votes, votes_expected, members });
    }

    fn send_outbox(&mut self) {
        let Some(corosync) = &self.corosync else {
            // Before the group is joined nothing may be said, and after it is left nobody listens.
            self.outbox.clear();
            return;
        };
        while let Some(payload) = self.outbox.pop_front() {
            match corosync.multicast(payload.clone()) {
                Ok(()) => {}
                Err(MulticastError::QueueFull) if self.outbox.len() < OUTBOX_MAX => {
                    self.outbox.push_front(payload);
                    return;
                }
                Err(MulticastError::TooLong { bytes }) => {
                    tracing::error!("a message of {bytes} bytes is too long for the group and was not sent");
                }
                Err(error @ (MulticastError::QueueFull | MulticastError::Gone)) => {
                    // The stream of events says why, if it has not yet.
                    tracing::error!("{error}");
                    self.outbox.clear();
                }
            }
        }
    }

    fn leave_group(&mut self) {
        if let Some(corosync) = &self.corosync
            && let Err(error) = corosync.leave()
        {
            tracing::warn!("the group could not be left: {error}");
        }
    }

    // configuration

    /// Takes a configuration into use for what the driver itself does with one.
    fn use_conf(&mut self, text: &ConfText) {
        self.in_force = Some(text.clone());
        let Some(conf) = shared::conf::load(&text.text).conf else { return };
        let conf = Arc::new(conf);
        self.watched.watch(&conf);
        if let Ok(cgroups) = &self.options.cgroups {
            cgroups.tidy(conf.services.iter().map(|service| &service.name));
        }
        super::log::follow(conf.log_level());
        self.conf = Some(Arc::clone(&conf));
        let (done, places) = (self.beside.clone(), self.options.places.clone());
        self.tasks.spawn(async move {
            let times = Times::ask(&conf, &places).await;
            let _ = done.send(Beside::Times(times)).await;
        });
    }

    fn arm_watchdog(&mut self) -> Result<(), WatchdogError> {
        let wanted = self.conf.as_ref().and_then(|conf| conf.rm.watchdog.clone());
        self.watchdog.follow(wanted.as_deref().map(Path::new), Instant::now())
    }

    fn switch_conf(&mut self, conf: ConfText, reload_corosync: bool) {
        self.use_conf(&conf);
        if let Err(error) = self.arm_watchdog() {
            // The configuration is in force already: services go on, and rgmanager does not start again without the device.
            tracing::error!("{}", shared::chain(&error));
        }
        let Some(model) = &self.conf else { return };
        let corosync_conf = render_corosync_conf(model, &RenderOptions::default());
        let version = conf.version;
        if let Err(why) = self.disk.switch(conf, corosync_conf, reload_corosync) {
            tracing::error!("configuration {version} is in force but not on this node's disk: {why}");
        }
    }

    fn take_disk(&mut self, done: Done) {
        match done {
            Done::Stored { version, digest, stored } => {
                if let Err(why) = &stored {
                    tracing::error!("configuration {version} cannot be stored: {why}");
                }
                self.happen(Event::ConfStored { version, digest, stored });
            }
            Done::Switched { reload_corosync: true, .. } => self.reload_corosync(),
            Done::Switched { reload_corosync: false, .. } => {}
            Done::NotSwitched { version, why } => {
                tracing::error!("configuration {version} is in force but not on this node's disk: {why}");
            }
        }
    }

    fn reload_corosync(&mut self) {
        self.tasks.spawn(async {
            for delay in RELOAD_DELAYS {
                tokio::time::sleep(delay).await;
                match query::reload_conf(COROSYNC_DEADLINE).await {
                    Ok(()) => tracing::info!("corosync was told to read its configuration again"),
                    Err(error) => tracing::error!(
                        "corosync did not read its configuration again ({}); run corosync-cfgtool -R",
                        shared::chain(&error)
                    ),
                }
            }
        });
    }

    // fencing

    fn run_fence(&mut self, id: FenceId, victim: &NodeName, method: FenceMethod) {
        tracing::info!("fencing node {victim}, method {}, attempt {}", method.name, id.attempt);
        let (agents, ended, victim) = (self.options.fence_agents.clone(), self.fences.clone(), victim.clone());
        self.tasks.spawn(async move {
            let devices = agents.run(&method.devices, FenceAction::Fence, CancellationToken::new()).await;
            let succeeded = fence::succeeded(&method.devices, &devices);
            log_devices(&victim, &devices);
            let word = if succeeded { "success" } else { "failed" };
            let took_ms: u64 = devices.iter().map(|device| device.duration_ms).sum();
            tracing::info!("fence {victim} {word}, method {}, {took_ms} ms", method.name);
            let _ = ended.send(FenceEnded { id, succeeded, devices }).await;
        });
    }

    /// `fence_node`: runs agents because an operator says so; the engine learns of it by what becomes of the node.
    fn fence_node(
        &mut self,
        node: NodeName,
        operation: FenceOperation,
        reply: oneshot::Sender<Result<Vec<FenceAttempt>, String>>,
    ) {
        let Some(conf) = self.conf.clone() else {
            drop(reply.send(Err("this node has no configuration yet".into())));
            return;
        };
        let Some(target) = conf.node(&node).cloned() else {
            drop(reply.send(Err(format!("{node} is not a node of this cluster"))));
            return;
        };
        let (agents, clock, by) = (self.options.fence_agents.clone(), self.clock, self.local_name());
        self.tasks.spawn(async move {
            let (action, methods) = match operation {
                FenceOperation::Fence => (FenceAction::Fence, target.methods),
                FenceOperation::Status => (FenceAction::Status, target.methods),
                FenceOperation::Unfence => (FenceAction::Unfence, unfence_method(target.unfence)),
            };
            let mut attempts: Vec<FenceAttempt> = Vec::new();
            for (attempt, method) in (1..).zip(methods) {
                let devices = agents.run(&method.devices, action, CancellationToken::new()).await;
                let succeeded = fence::succeeded(&method.devices, &devices);
                let (at, by) = (clock.now(), by.clone());
                attempts.push(FenceAttempt { at, by, method: method.name, attempt, succeeded, devices });
                // A look goes through all methods; fencing is done with the first that works.
                if succeeded && operation != FenceOperation::Status {
                    break;
                }
            }
            drop(reply.send(Ok(attempts)));
        });
    }

    fn local_name(&self) -> NodeName {
        let status = self.feed.status();
        let local = status.nodes.iter().find(|node| node.local);
        local.map_or_else(|| NodeName(format!("node id {}", status.local)), |node| node.name.clone())
    }

    // control socket

    fn take_question(&mut self, question: Question) {
        match question {
            Question::Request { request, reply } => {
                self.waiting.for_answer(request.id.clone(), reply);
                self.happen(Event::RequestReceived { request });
            }
            Question::Await { id, reply } => {
                if let Some(outcome) = self.engine.outcome(&id) {
                    drop(reply.send(outcome.clone()));
                } else {
                    self.waiting.for_outcome(id, reply);
                }
            }
            Question::Conf { reply } => {
                let conf = self.in_force.as_ref().map(|conf| ConfInForce {
                    version: conf.version,
                    digest: conf.digest.clone(),
                    text: conf.text.clone(),
                });
                drop(reply.send(conf));
            }
            Question::PutConf { text, origin, despite_agents, reply } => {
                self.judge(text, origin, despite_agents, reply);
            }
            Question::Explain { service, reply } => {
                drop(reply.send(self.engine.explain(self.clock.now(), &service)));
            }
            Question::Services { reply } => {
                let state = self.engine.replicated();
                drop(reply.send(state.map(|state| state.services.keys().cloned().collect())));
            }
            Question::Predict { assumption, reply } => self.foresee(assumption, reply),
            Question::FenceNode { node, operation, reply } => self.fence_node(node, operation, reply),
            Question::Leave { reply } => {
                tracing::info!("leaving the cluster because it was asked for");
                self.leavers.push(reply);
                self.happen(Event::LeaveRequested);
            }
        }
    }

    /// Expected votes may have been changed since quorum was last told (`corosync-quorumtool -e`), so they are asked for anew.
    fn foresee(&mut self, assumption: Assumption, reply: oneshot::Sender<Prediction>) {
        let ring_seq = match &self.quorum {
            Some(corosync::Event::QuorumChanged { ring_seq, .. }) => *ring_seq,
            _ => 0,
        };
        let done = self.beside.clone();
        self.tasks.spawn(async move {
            // Without an answer what was told last counts.
            let counted = query::votes(COROSYNC_DEADLINE).await.ok();
            let counted = counted.map(|counted| (counted.votes_total, counted.votes_expected));
            let _ = done.send(Beside::Counted { ring_seq, counted, assumption, reply }).await;
        });
    }

    /// Has the agents asked about what a new configuration changes, before the others are troubled with it.
    fn judge(&mut self, text: String, origin: String, despite_agents: bool, reply: oneshot::Sender<PutConf>) {
        let (done, present) = (self.beside.clone(), self.in_force.clone());
        let (ocf_root, secrets) = (self.options.places.ocf_root.clone(), self.options.places.secrets.clone());
        self.tasks.spawn(async move {
            let present = present.as_ref().map(|conf| conf.text.as_str());
            let findings = crate::judge::judge(&ocf_root, &secrets, &text, present).await;
            let _ = done.send(Beside::Judged(Judged { text, origin, despite_agents, findings, reply })).await;
        });
    }

    fn take_judged(&mut self, judged: Judged) {
        let Judged { text, origin, despite_agents, mut findings, reply } = judged;
        if despite_agents {
            judge::overrule(&mut findings);
        }
        for finding in &findings {
            tracing::warn!("the configuration of {origin}, line {}: {}", finding.place.line, finding.text);
        }
        if findings.iter().any(|finding| finding.severity == Severity::Error) {
            // Who offered it may have gone.
            drop(reply.send(PutConf::Refused { findings }));
            return;
        }
        let offer = self.waiting.for_offer(reply, findings);
        self.happen(Event::ConfOffered { offer, text, origin });
    }

    fn status_changes(&mut self) {
        self.status_due.get_or_insert_with(|| Instant::now() + STATUS_GATHERING);
    }

    fn publish(&mut self) {
        self.status_due = None;
        let mut status = self.engine.status(self.clock.now());
        for node in status.nodes.iter_mut().filter(|node| node.local) {
            node.watches = self.watched.sources();
        }
        self.watched.follow(&status);
        self.feed.publish(status);
    }

    /// Writes what is to be written, answers who waits for the end, leaves the group.
    async fn end(mut self, mut reports: Reports) {
        self.publish();
        if let Some(events) = &mut reports.corosync
            && tokio::time::timeout(END_PATIENCE, to_the_end(events)).await.is_err()
        {
            tracing::warn!("corosync does not confirm that the group was left");
        }
        drop(self.corosync.take());
        for leaver in self.leavers.drain(..) {
            // Who asked may have gone.
            let _ = leaver.send(());
        }
        self.stop.cancel();
        if let Some(server) = self.server.take()
            && tokio::time::timeout(END_PATIENCE, server).await.is_err()
        {
            tracing::warn!("the control socket does not end");
        }
        // Best effort: a new daemon replaces it anyway.
        let _ = std::fs::remove_file(&self.options.socket);
        self.tasks.shutdown().await;
        drop(reports);
        let disk = self.disk;
        if tokio::task::spawn_blocking(move || disk.finish()).await.is_err() {
            tracing::error!("writing the last files broke");
        }
    }
}

/// What runs on without a daemon, for a successor or because it could not be stopped, is left to the watchdog.
fn leaves_nothing_running(reason: &ExitReason) -> bool {
    match reason {
        ExitReason::Left | ExitReason::ConfUnusable { .. } => true,
        ExitReason::CorosyncLost { failed_to_stop } => failed_to_stop.is_empty(),
        ExitReason::Restart => false,
    }
}

async fn next(events: &mut Option<mpsc::Receiver<corosync::Event>>) -> Option<corosync::Event> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}

/// Takes events that nobody needs any more, until there are no more.
async fn to_the_end(events: &mut mpsc::Receiver<corosync::Event>) {
    while events.recv().await.is_some() {}
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

/// What a failing agent printed; the engine tells the failure itself.
fn log_output(finished: &RunFinished) {
    let RunFinished { service, resource, operation, output, duration_ms, .. } = finished;
    let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    for line in &lines[lines.len().saturating_sub(OUTPUT_LINES_LOGGED)..] {
        tracing::warn!("{service}: {} of {resource} said after {duration_ms} ms: {line}", operation.name());
    }
}

/// One line per device, and what a failing one said.
pub(super) fn log_devices(victim: &NodeName, devices: &[FenceDeviceRun]) {
    for (number, run) in devices.iter().enumerate() {
        let result = match run.code {
            Some(0) => "success".to_owned(),
            Some(code) => format!("error, exit code {code}"),
            None => "error, no exit code".to_owned(),
        };
        let (device, agent) = (&run.device, &run.agent);
        tracing::info!("fence {victim} dev {number} {device} agent {agent} result: {result}");
        for line in run.output.lines().filter(|line| run.code != Some(0) && !line.trim().is_empty()) {
            tracing::warn!("fence {victim} dev {number} {device} said: {line}");
        }
    }
}

fn unfence_method(devices: Vec<FenceInstance>) -> Vec<FenceMethod> {
    if devices.is_empty() { Vec::new() } else { vec![FenceMethod { name: "unfence".into(), devices }] }
}
