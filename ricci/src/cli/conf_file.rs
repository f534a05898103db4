//! cluster.conf as a file, for commands that work without a daemon. Reads only; whether it is right is for
//! `shared::conf` to say.

use std::io::Read;
use std::path::{Path, PathBuf};

use shared::conf::{self, Finding, Severity};

/// Where the file is unless `CLUSTER_CONF` names another.
const CONF_PATH: &str = "/etc/cluster/cluster.conf";

/// Names another cluster.conf.
const CONF_VARIABLE: &str = "CLUSTER_CONF";

/// The node's own cluster.conf.
pub fn default_path() -> PathBuf {
    std::env::var_os(CONF_VARIABLE).map_or_else(|| PathBuf::from(CONF_PATH), PathBuf::from)
}

/// Why a file cannot even be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ConfFileError {
    #[error("cannot read {}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} is longer than {} bytes, which is no cluster.conf", path.display(), conf::BYTES_MAX)]
    TooLong { path: PathBuf },
    #[error("{} is not UTF-8 from byte {valid} on", path.display())]
    NotText { path: PathBuf, valid: usize },
}

/// The text of a file.
pub fn read(path: &Path) -> Result<String, ConfFileError> {
    let unreadable = |source| ConfFileError::Unreadable { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(conf::BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > conf::BYTES_MAX {
        return Err(ConfFileError::TooLong { path: path.to_owned() });
    }
    String::from_utf8(bytes)
        .map_err(|error| ConfFileError::NotText { path: path.to_owned(), valid: error.utf8_error().valid_up_to() })
}

/// Findings as compilers print them, `FILE:LINE:COLUMN: error: …`, with the hint below; those of at least this
/// severity.
pub fn render_findings(file: &str, findings: &[Finding], least: Severity) -> String {
    let mut out = String::new();
    for finding in findings {
        let word = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "note",
        };
        // `Severity` is ordered from the gravest.
        if finding.severity > least {
            continue;
        }
        let place = &finding.place;
        out.push_str(&format!("{file}:{}:{}: {word}: {} [{}]\n", place.line, place.column, finding.text, finding.rule));
        if !finding.hint.is_empty() {
            out.push_str(&format!("    {}\n", finding.hint));
        }
    }
    out
}

/// What is to be said of a version that the cluster has taken, and could not be said of the one `before` (empty: there
/// was none): our own warnings, and `told`, which whoever took it found besides, the words of agents above all.
pub fn news_of(text: &str, before: &str, told: &[Finding]) -> Vec<Finding> {
    let known = conf::load(before).findings;
    let says_the_same = |one: &Finding, other: &Finding| (&one.rule, &one.text) == (&other.rule, &other.text);
    let mut news: Vec<Finding> = Vec::new();
    for finding in conf::load(text).findings.iter().chain(told) {
        if !known.iter().chain(&news).any(|other| says_the_same(finding, other)) {
            news.push(finding.clone());
        }
    }
    news
}
