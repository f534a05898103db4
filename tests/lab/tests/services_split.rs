//! Two hosts that do not hear each other, while both can fence: one of them lives, and never do both serve.

#![expect(clippy::unwrap_used, reason = "a test stops where it cannot look")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lab::Nic;
use lab::cluster::{Cluster, ClusterOptions, SERVICE_ADDRESS};

const SOON: Duration = Duration::from_secs(120);
/// How often they lose each other; `LAB_ROUNDS=20` for another number.
const ROUNDS: usize = 5;

fn rounds() -> usize {
    std::env::var("LAB_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap())
}

#[test]
fn two_hosts_that_lose_each_other_never_both_serve_and_never_both_die() {
    let mut options = ClusterOptions::web(2);
    options.token_ms = 1000;
    let cluster = Cluster::boot(options).unwrap();
    let watch = cluster.lab.watch_address(SERVICE_ADDRESS.parse().unwrap());
    cluster.formed().unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Somebody must have power at every moment.
        let dark = scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                if (1..=2).all(|host| !cluster.lab.is_up(host)) {
                    return true;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            false
        });
        let rounds = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 1..=rounds() {
                one_round(&cluster, round);
            }
        }));
        over.store(true, Ordering::SeqCst);
        let dark = dark.join().unwrap();
        if let Err(panic) = rounds {
            std::panic::resume_unwind(panic);
        }
        assert!(!dark, "both hosts were without power at the same time:\n{}", cluster.lab.events().unwrap());
    });
    watch.finish().unwrap();
}

fn one_round(cluster: &Cluster, round: usize) {
    let owner = cluster.formed().unwrap_or_else(|error| {
        panic!(
            "round {round}: {error:#}\n{}\nnode1:\n{}\nnode2:\n{}",
            cluster.lab.events().unwrap(),
            cluster.log(1),
            cluster.log(2)
        )
    });
    let boots = || cluster.lab.state().unwrap().hosts.iter().map(|host| host.boots).collect::<Vec<_>>();
    let before = boots();
    // The service network and the ring are cut; the BMCs' network lives.
    cluster.lab.partition(&[&[1], &[2]], &[Nic::Ring0, Nic::Ring1]).unwrap();
    let fenced = lab::wait_for("one of them to be fenced", SOON, || (boots() != before).then(boots));
    let after = fenced.unwrap_or_else(|error| {
        panic!("round {round}: {error:#}\nnode1:\n{}\nnode2:\n{}", cluster.log(1), cluster.log(2))
    });
    let died: Vec<usize> = (1..=2).filter(|&host| after[host - 1] != before[host - 1]).collect();
    assert_eq!(died.len(), 1, "round {round}, owner node{owner}: boots {before:?} -> {after:?}");
    assert_ne!(died[0], owner, "the side that serves has a head start");
    cluster.lab.heal().unwrap();
}
