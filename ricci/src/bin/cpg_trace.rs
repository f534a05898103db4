// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cpg_trace`: joins a CPG group, sends numbered messages at a steady rate and prints everything corosync tells,
//! one JSON object per line. Run by hand to watch a cluster, and by the recording of `tests/fixtures/cpg`, whose
//! README describes the lines. Ends by SIGTERM or SIGINT (leaves the group first) or when corosync is lost.
//! It never starts anything and is harmless in a group of its own.

use std::io::{LineWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use clap::Parser;
use ricci::corosync::{Corosync, Event, Handle, Member, MulticastError};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

/// Watch a corosync process group: one JSON object per event.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Group to join.
    #[arg(long, default_value = "cpg_trace")]
    group: String,
    /// Messages to send per second; 0 sends none.
    #[arg(long, default_value_t = 0)]
    rate: u32,
    /// Stop sending after this many messages; 0 goes on for ever.
    #[arg(long, default_value_t = 0)]
    count: u64,
    /// Length of each message in bytes; its number is padded with dots.
    #[arg(long, default_value_t = 16)]
    size: usize,
    /// Append to this file instead of printing.
    #[arg(long)]
    output: Option<PathBuf>,
}

/// A clock that never goes back and is still comparable between hosts that share one wall clock.
struct Clock {
    started: Instant,
    base: Duration,
}

impl Clock {
    fn start() -> Result<Self> {
        let base = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("the clock is before 1970")?;
        Ok(Self { started: Instant::now(), base })
    }

    fn micros(&self) -> u64 {
        u64::try_from((self.base + self.started.elapsed()).as_micros()).unwrap_or(u64::MAX)
    }
}

struct Trace {
    clock: Clock,
    out: LineWriter<Box<dyn Write>>,
}

impl Trace {
    fn line(&mut self, mut fields: Value) -> Result<()> {
        fields["t_us"] = self.clock.micros().into();
        writeln!(self.out, "{fields}").context("cannot write the trace")
    }
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let out: Box<dyn Write> = match &options.output {
        Some(path) => Box::new(
            std::fs::File::options()
                .create(true)
                .append(true)
                .open(path)
                .with_context(|| format!("cannot write {}", path.display()))?,
        ),
        None => Box::new(std::io::stdout()),
    };
    let trace = Trace { clock: Clock::start()?, out: LineWriter::new(out) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(watch(&options, trace))
}

/// Until the group or corosync is left; success only if we left by ourselves.
async fn watch(options: &Options, mut trace: Trace) -> Result<ExitCode> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (handle, mut events) = Corosync::spawn(&options.group)?;
    trace.line(json!({"event": "started", "local": member(handle.local()), "group": options.group}))?;
    let period = Duration::from_secs(1).checked_div(options.rate).unwrap_or(Duration::from_secs(3600));
    let mut tick = interval(period);
    // A burst after a pause would make the trace say more about this program than about corosync.
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sent = 0;
    let mut leaving = false;
    loop {
        let sending = options.rate > 0 && !leaving && (options.count == 0 || sent < options.count);
        tokio::select! {
            event = events.recv() => {
                let Some(event) = event else { return Ok(ExitCode::SUCCESS) };
                let lost = matches!(event, Event::Lost { .. });
                trace.line(describe(event))?;
                if lost {
                    return Ok(ExitCode::FAILURE);
                }
            }
            _ = tick.tick(), if sending => send(&handle, &mut sent, options.size, &mut trace)?,
            _ = terminate.recv(), if !leaving => leaving = leave(&handle, &mut trace)?,
            _ = interrupt.recv(), if !leaving => leaving = leave(&handle, &mut trace)?,
        }
    }
}

fn send(handle: &Handle, sent: &mut u64, size: usize, trace: &mut Trace) -> Result<()> {
    let number = *sent + 1;
    match handle.multicast(format!("{number:.<size$}").into_bytes()) {
        Ok(()) => {
            *sent = number;
            trace.line(json!({"event": "sent", "n": number}))
        }
        // Corosync is busy, or gone, which the events are about to say: the same number comes again next time.
        Err(MulticastError::QueueFull | MulticastError::Gone) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn leave(handle: &Handle, trace: &mut Trace) -> Result<bool> {
    trace.line(json!({"event": "leaving"}))?;
    Ok(handle.leave().is_ok())
}

fn member(member: Member) -> Value {
    json!([member.node, member.pid])
}

fn with_reason<R: serde::Serialize>(list: &[(Member, R)]) -> Vec<Value> {
    list.iter().map(|(member, reason)| json!([member.node, member.pid, reason])).collect()
}

fn describe(event: Event) -> Value {
    match event {
        Event::MembershipChanged { members, left, joined } => json!({
            "event": "membership",
            "members": members.into_iter().map(member).collect::<Vec<_>>(),
            "left": with_reason(&left),
            "joined": with_reason(&joined),
        }),
        Event::RingChanged { ring, members } => {
            json!({"event": "ring", "ring": [ring.node.0, ring.seq], "members": members})
        }
        Event::Delivered { from, payload } => {
            let text = String::from_utf8_lossy(&payload);
            match text.trim_end_matches('.').parse::<u64>() {
                Ok(number) => json!({"event": "delivered", "from": member(from), "n": number}),
                Err(_) => json!({"event": "delivered", "from": member(from), "bytes": payload.len()}),
            }
        }
        Event::QuorumChanged { ring_seq, quorate, members } => {
            json!({"event": "quorum", "ring_seq": ring_seq, "quorate": quorate, "members": members})
        }
        Event::Lost { reason } => json!({"event": "lost", "reason": reason}),
    }
}
