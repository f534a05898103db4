//! What happened in the clusters, as their members told it.

use shared::status::{Fact, FactSeverity, Subject};

use super::{Repo, Result, to_json};
use crate::ids::ClusterId;

/// Members stamp facts with their own clocks; the same fact told by another member within this distance is the same.
const SAME_WITHIN_MS: i64 = 5_000;

/// One line of the timeline.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct Event {
    pub id: i64,
    pub at: i64,
    pub subject_kind: String,
    pub subject: String,
    pub severity: String,
    pub kind: String,
    pub text: String,
    pub reason: Option<String>,
}

/// Which events to show.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// `node` or `service` with its name, or `cluster` with none.
    pub subject: Option<(&'static str, String)>,
    /// Only warnings and errors.
    pub problems_only: bool,
    /// Only of these kinds, as the database has them (`node-lost`); empty: of all.
    pub kinds: Vec<String>,
    /// Only those with each of these words in their text, reason or subject, in small or capital letters.
    pub words: Vec<String>,
    /// Only events with a smaller id.
    pub before: Option<i64>,
}

/// Number of the first bound word in the question for events.
const FIRST_WORD: usize = 8;
/// Words that are looked for; nobody types more, and each costs.
const WORDS_MAX: usize = 10;

/// A word as a pattern that matches it anywhere; what has a meaning in patterns stands for itself.
fn pattern(word: &str) -> String {
    let mut pattern = String::from("%");
    for letter in word.to_lowercase().chars() {
        if matches!(letter, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

fn severity_word(severity: FactSeverity) -> &'static str {
    match severity {
        FactSeverity::Info => "info",
        FactSeverity::Warning => "warning",
        FactSeverity::Error => "error",
    }
}

impl Repo {
    /// Keeps facts, each once however many members tell it. `live`: they just happened; otherwise they come with a
    /// whole status and may have been told before.
    pub async fn store_facts(&self, cluster: ClusterId, facts: &[Fact]) -> Result<u64> {
        let mut tx = self.pool.begin().await?;
        let mut stored = 0;
        for fact in facts {
            let (subject_kind, subject) = match &fact.subject {
                Subject::Cluster => ("cluster", ""),
                Subject::Node(name) => ("node", name.as_str()),
                Subject::Service(name) => ("service", name.as_str()),
            };
            let kind = to_json("fact kind", &fact.kind)?.trim_matches('"').to_owned();
            let at = i64::try_from(fact.at.0).unwrap_or(i64::MAX);
            let done = self
                .query(
                    "INSERT INTO events (cluster_id, at, subject_kind, subject, severity, kind, text, reason)
                 SELECT $1, $2, $3, $4, $5, $6, $7, $8
                 WHERE NOT EXISTS (SELECT 1 FROM events WHERE cluster_id = $1 AND at BETWEEN $2 - $9 AND $2 + $9
                                   AND subject_kind = $3 AND subject = $4 AND kind = $6 AND text = $7)",
                )
                .bind(cluster)
                .bind(at)
                .bind(subject_kind)
                .bind(subject)
                .bind(severity_word(fact.severity))
                .bind(kind)
                .bind(&fact.text)
                .bind(fact.reason.as_ref().map(shared::status::Reason::text))
                .bind(SAME_WITHIN_MS)
                .execute(&mut tx)
                .await?;
            stored += done.rows_affected();
        }
        tx.commit().await?;
        Ok(stored)
    }

    /// Newest first.
    pub async fn events(&self, cluster: ClusterId, filter: &EventFilter, limit: i64) -> Result<Vec<Event>> {
        let (kind, name) = match &filter.subject {
            Some((kind, name)) => (Some(*kind), Some(name.as_str())),
            None => (None, None),
        };
        // One value however many kinds: `,fenced,node-lost,`. No kind has a comma.
        let kinds = (!filter.kinds.is_empty()).then(|| format!(",{},", filter.kinds.join(",")));
        let words = &filter.words[..filter.words.len().min(WORDS_MAX)];
        let said = "lower(text || ' ' || COALESCE(reason, '') || ' ' || subject)";
        let with_words: String =
            (0..words.len()).map(|place| format!(" AND {said} LIKE ${} ESCAPE '!'", FIRST_WORD + place)).collect();
        let sql = format!(
            "SELECT id, at, subject_kind, subject, severity, kind, text, reason FROM events
             WHERE cluster_id = $1 AND ($2 IS NULL OR (subject_kind = $2 AND subject = $3))
               AND (NOT $4 OR severity <> 'info') AND ($5 IS NULL OR id < $5)
               AND ($6 IS NULL OR $6 LIKE '%,' || kind || ',%'){with_words}
             ORDER BY at DESC, id DESC LIMIT $7"
        );
        let query = self
            .query_as(sqlx::AssertSqlSafe(sql))
            .bind(cluster)
            .bind(kind)
            .bind(name)
            .bind(filter.problems_only)
            .bind(filter.before)
            .bind(kinds)
            .bind(limit);
        let query = words.iter().fold(query, |query, word| query.bind(pattern(word)));
        Ok(query.fetch_all(&self.pool).await?)
    }
}
