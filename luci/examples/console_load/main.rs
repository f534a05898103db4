//! The load of a large site on one luci: simulated clusters behind simulated riccis (real TLS, loopback only), open browsers, every
//! page, and events on their way to the browsers; then the same while one cluster's nodes hang. Started by `cargo xtask bench
//! console`. Bounded in count and time; leaves nothing behind.

#![expect(clippy::print_stdout, reason = "the figures go to the person who asked for them")]

mod browsers;
mod cluster;
#[path = "../../tests/it/fake.rs"]
mod fake;
mod report;
mod stage;

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Parser;
use tokio::sync::mpsc;

use browsers::Marks;
use cluster::Size;
use report::{Sample, Table};
use stage::Stage;

/// Longest run of the whole measurement.
const LONGEST: Duration = Duration::from_secs(900);
/// Between two events: together the clusters are as lively as in a failover that never ends.
const EVENT_EVERY: Duration = Duration::from_millis(250);
/// Browsers that are opening their page at the same time.
const AT_ONCE: usize = 8;
/// After the last event of a round its browsers have this long.
const LAST_EVENT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, Parser)]
#[command(name = "console_load", about = "Measures luci under the load of a large site")]
struct Wanted {
    #[arg(long, default_value_t = 50)]
    clusters: usize,
    #[arg(long, default_value_t = 16)]
    nodes: usize,
    #[arg(long, default_value_t = 100)]
    services: usize,
    #[arg(long, default_value_t = 200)]
    browsers: usize,
    /// Events per round.
    #[arg(long, default_value_t = 200)]
    events: usize,
    /// How often each page is asked for, per round.
    #[arg(long, default_value_t = 100)]
    times: usize,
    /// Serve one simulated cluster until standard input ends: the one that is made to hang.
    #[arg(long, hide = true)]
    hanging: bool,
}

impl Wanted {
    fn size(self) -> Size {
        Size { nodes: self.nodes, services: self.services }
    }
}

fn main() -> Result<()> {
    let wanted = Wanted::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        if wanted.hanging {
            return stage::serve_one(wanted.size()).await;
        }
        match tokio::time::timeout(LONGEST, measure(wanted)).await {
            Ok(result) => result,
            Err(_) => bail!("not done within {} s", LONGEST.as_secs()),
        }
    })
}

async fn measure(wanted: Wanted) -> Result<()> {
    println!(
        "{} clusters of {} nodes and {} services, {} open browsers",
        wanted.clusters, wanted.nodes, wanted.services, wanted.browsers
    );
    let stage = Stage::set(wanted).await?;
    stage.wait_until_all_are_followed().await?;
    let idle = stage.memory()?;
    let marks = Marks::default();
    open_browsers(&stage, wanted, &marks).await?;
    let calm = round(&stage, wanted, &marks, 0).await?;
    stage.hang()?;
    stage.wait_until_one_is_lost().await?;
    let hung = round(&stage, wanted, &marks, wanted.events).await?;
    let memory = stage.memory()?;
    let table = Table { calm, hung, idle, memory };
    println!("{table}");
    stage.end().await?;
    if !table.holds() {
        bail!("a limit is not kept");
    }
    Ok(())
}

/// All browsers have a cluster's page open, spread over the clusters. The first cluster is the one that will hang.
async fn open_browsers(stage: &Stage, wanted: Wanted, marks: &Marks) -> Result<()> {
    let (ready, mut begun) = mpsc::channel(wanted.browsers);
    let mut open = 0;
    for place in 0..wanted.browsers {
        // People do not all come in the same instant.
        if place >= AT_ONCE {
            if begun.recv().await.is_none() {
                bail!("only {open} of {} browsers are open", wanted.browsers);
            }
            open += 1;
        }
        let browser = stage.browser(place)?;
        let path = format!("/clusters/{}", stage::cluster_name(place % wanted.clusters));
        let (marks, ready) = (marks.clone(), ready.clone());
        tokio::spawn(async move {
            if let Err(error) = browser.watch(path, marks, ready).await {
                println!("a browser closed: {error:#}");
            }
        });
    }
    drop(ready);
    while open < wanted.browsers {
        if begun.recv().await.is_none() {
            bail!("only {open} of {} browsers are open", wanted.browsers);
        }
        open += 1;
    }
    Ok(())
}

/// Events go round all clusters but the first, while all pages are read one after another.
async fn round(stage: &Stage, wanted: Wanted, marks: &Marks, first_mark: usize) -> Result<Sample> {
    let cpu = stage.cpu()?;
    let began = std::time::Instant::now();
    let (pages, ()) = tokio::try_join!(stage.read_pages(wanted.times), send_events(stage, wanted, marks, first_mark))?;
    tokio::time::sleep(LAST_EVENT).await;
    let events = marks.take();
    let share = (stage.cpu()? - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    Ok(Sample { pages, events, events_wanted: stage::readers(wanted), share })
}

async fn send_events(stage: &Stage, wanted: Wanted, marks: &Marks, first: usize) -> Result<()> {
    let mut beat = tokio::time::interval(EVENT_EVERY);
    for number in first..first + wanted.events {
        beat.tick().await;
        let mark = format!("mark-{number}");
        marks.send(&mark);
        let cluster = 1 + number % (wanted.clusters - 1);
        stage.clusters[cluster - 1].move_service(number % wanted.services, &mark, wanted.size());
    }
    Ok(())
}
