//! What is compared: the phases of one failover, and their print as a table of min / median / max.
//!
//! Filled by `ours` and `pacemaker` from logs; the cluster's own share is the same three gaps for both.

/// One failover; every time in seconds.
#[derive(Debug, Clone)]
pub(crate) struct Failover {
    /// Power cut → corosync says that the token is lost.
    pub(crate) token_lost: f64,
    /// → corosync has formed the new membership.
    pub(crate) membership: f64,
    /// → fencing is decided and the fence agent begins.
    pub(crate) fence_begins: f64,
    /// → the fence agent has ended.
    pub(crate) fenced: f64,
    /// → the agent of the address begins.
    pub(crate) address_begins: f64,
    /// → the address is up.
    pub(crate) address_up: f64,
    /// → the agent of the web server begins.
    pub(crate) web_begins: f64,
    /// → the client gets a page. The agent of the web server may still be at work.
    pub(crate) answer: f64,
    /// Further times that only one of the two has, by name; gaps, not part of the sum.
    pub(crate) details: Vec<(&'static str, f64)>,
}

impl Failover {
    /// What the cluster manager itself takes: membership → fence agent, fence result → first agent, agent → next agent.
    pub(crate) fn own_share(&self) -> f64 {
        (self.fence_begins - self.membership)
            + (self.address_begins - self.fenced)
            + (self.web_begins - self.address_up)
    }
}

/// All runs of one cluster manager.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) runs: Vec<Failover>,
}

type Column = (&'static str, fn(&Failover) -> f64);

const ROWS: [Column; 11] = [
    ("power off -> token lost", |run| run.token_lost),
    ("-> new membership", |run| run.membership - run.token_lost),
    ("A -> decided, fence agent begins", |run| run.fence_begins - run.membership),
    ("-> fenced (fence agent)", |run| run.fenced - run.fence_begins),
    ("B -> start decided, agent begins", |run| run.address_begins - run.fenced),
    ("-> address up (IPaddr2)", |run| run.address_up - run.address_begins),
    ("C -> apache's agent begins", |run| run.web_begins - run.address_up),
    ("-> first HTTP answer (apache)", |run| run.answer - run.web_begins),
    ("A + B + C", Failover::own_share),
    ("new membership -> first answer", |run| run.answer - run.membership),
    ("power off -> first answer", |run| run.answer),
];

/// `min / median / max`.
pub(crate) fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (values.first(), values.last()) else { return "-".to_owned() };
    let middle = values.len() / 2;
    let median = if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
    // Logs tell milliseconds, so that what took less may seem to end before it began.
    let shown = |value: f64| if value.abs() < 0.000_5 { 0.0 } else { value };
    format!("{:.3} / {:.3} / {:.3}", shown(*least), shown(median), shown(*most))
}

/// Prints the tables side by side, then the details of each.
#[expect(clippy::print_stdout, reason = "the figures go to the person who asked for them")]
pub(crate) fn print(tables: &[(&str, Table)]) {
    let mut head = format!("{:<34}", "");
    for (name, table) in tables {
        head += &format!(" {:<24}", format!("{name} (n={})", table.runs.len()));
    }
    println!("{}", head.trim_end());
    for (name, value) in ROWS {
        let mut line = format!("{name:<34}");
        for (_, table) in tables {
            line += &format!(" {:<24}", spread(table.runs.iter().map(value).collect()));
        }
        println!("{}", line.trim_end());
    }
    for (name, table) in tables {
        let details = table.runs.first().map(|run| run.details.clone()).unwrap_or_default();
        for (index, (detail, _)) in details.iter().enumerate() {
            let values = table.runs.iter().filter_map(|run| run.details.get(index)).map(|(_, value)| *value);
            println!("  {name}: {detail:<44} {}", spread(values.collect()));
        }
    }
}

/// One line about one run.
pub(crate) fn line(number: usize, from: usize, to: usize, run: &Failover) -> String {
    let gaps = ROWS.map(|(_, value)| format!("{:.3}", value(run))).join(" ");
    format!("  run {number}, node{from} -> node{to}: {gaps}")
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(spread(vec![4.0, 1.0, 2.0, 3.0]), "1.000 / 2.500 / 4.000");
        assert_eq!(spread(vec![3.0, 1.0, 2.0]), "1.000 / 2.000 / 3.000");
    }
}
