//! Asks the resource agents of this node what they think of a configuration, before it is accepted and on demand.
//!
//! Called by rgmanager for a version that was handed to this member and by ricci for `/v1/conf/check`; what is asked and
//! what an answer means is for `shared::conf::judge` to say. Bounded in all: an agent that hangs, prints without end
//! or is missing costs its own judgement and nothing else.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use shared::agents::metadata::{self, AgentClass, AgentSchema};
use shared::conf::finding::{Finding, Place, Severity};
use shared::conf::judge::{Question, Word, findings, questions};
use tokio::sync::{OnceCell, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::rgmanager::agents::essentials;
use crate::rgmanager::masking::mask;
use crate::rgmanager::process::{self, How, Program};
use crate::secrets::{Resolved, Secrets};

/// For one agent to print its metadata, and for one judgement. They take 0.1 s; whoever waits is a person.
const AGENT_DEADLINE: Duration = Duration::from_secs(4);

/// For all of them together. The control socket answers within 15 s, and the members have to store the version, too.
const PATIENCE: Duration = Duration::from_secs(8);

/// Agents asked at the same time. The node runs services meanwhile.
const ASKED_AT_ONCE: usize = 4;

/// What an agent of this node may know of the whole question.
type Schemas = BTreeMap<String, OnceCell<Result<Arc<AgentSchema>, Word>>>;

/// What the agents below `ocf_root` say of everything in `text` that `present` has otherwise or not at all. Empty for a text
/// with errors of its own: those come first. An agent gets the secrets that its parameters refer to; one that this node lacks
/// is said instead of its judgement.
pub async fn judge(ocf_root: &Path, secrets: &Secrets, text: &str, present: Option<&str>) -> Vec<Finding> {
    let next = shared::conf::load(text);
    if next.conf.is_none() {
        return Vec::new();
    }
    let present = present.map(shared::conf::load);
    ask_all(ocf_root, secrets, questions(&next, present.as_ref())).await
}

async fn ask_all(ocf_root: &Path, secrets: &Secrets, questions: Vec<Question>) -> Vec<Finding> {
    let ends = Instant::now() + PATIENCE;
    let count = questions.len();
    let places: Vec<Place> = questions.iter().map(|question| question.place.clone()).collect();
    let schemas: Arc<Schemas> = Arc::new(questions.iter().map(|asked| (asked.runner(), OnceCell::new())).collect());
    let few = Arc::new(Semaphore::new(ASKED_AT_ONCE));
    let (give, mut answers) = mpsc::channel(count.max(1));
    for (number, question) in questions.into_iter().enumerate() {
        let (schemas, few, give) = (Arc::clone(&schemas), Arc::clone(&few), give.clone());
        let (ocf_root, secrets) = (ocf_root.to_owned(), secrets.clone());
        // Not aborted when the time is over: it ends by its own deadline, and only then is its agent killed.
        tokio::spawn(async move {
            let Ok(_place) = few.acquire().await else { return };
            if Instant::now() >= ends {
                return;
            }
            let schema = match schemas.get(&question.runner()) {
                Some(cell) => cell.get_or_init(|| schema(&ocf_root, &question)).await.clone(),
                None => return,
            };
            let found = match schema {
                Ok(schema) => {
                    let word = validate(&ocf_root, &secrets, &question, &schema).await;
                    findings(&question, Some(&schema), &word)
                }
                Err(word) => findings(&question, None, &word),
            };
            // Too late: nobody listens any more.
            let _ = give.send((number, found)).await;
        });
    }
    drop(give);
    let mut found: BTreeMap<usize, Vec<Finding>> = BTreeMap::new();
    while let Ok(Some((number, some))) = tokio::time::timeout_at(ends, answers.recv()).await {
        found.insert(number, some);
    }
    let first_missing = (0..count).find(|number| !found.contains_key(number));
    let late = first_missing.map(|number| unanswered(count - found.len(), places[number].clone()));
    found.into_values().flatten().chain(late).collect()
}

fn unanswered(count: usize, place: Place) -> Finding {
    Finding {
        rule: "agent-not-asked".to_owned(),
        severity: Severity::Warning,
        place,
        text: format!(
            "{count} resources, of which this is the first, were not judged by their agents within {PATIENCE:?}"
        ),
        hint: "the configuration does not depend on it; look which agent hangs on this node".to_owned(),
    }
}

async fn schema(ocf_root: &Path, question: &Question) -> Result<Arc<AgentSchema>, Word> {
    let path = path(ocf_root, question);
    if !path.is_file() {
        return Err(Word::NotInstalled);
    }
    let (how, output) = run(ocf_root, question, path, "meta-data", BTreeMap::new()).await;
    match how {
        How::Exited(0) => match metadata::parse(AgentClass::Resource, &output) {
            Ok(schema) => Ok(Arc::new(schema)),
            Err(error) => Err(Word::NoMetadata(error.to_string())),
        },
        how => Err(Word::NoMetadata(why(&how))),
    }
}

async fn validate(ocf_root: &Path, secrets: &Secrets, question: &Question, schema: &AgentSchema) -> Word {
    if !schema.has_action("validate-all") {
        return Word::NotOffered;
    }
    let Resolved { arguments, secrets } = match secrets.resolve(&question.given()) {
        Ok(resolved) => resolved,
        Err(error) => return Word::NoAnswer(shared::chain(&error)),
    };
    let path = path(ocf_root, question);
    match run(ocf_root, question, path, "validate-all", arguments.into_iter().collect()).await {
        (How::Exited(code), output) => Word::Said { code, output: mask(&output, std::iter::empty(), &secrets) },
        (how, _) => Word::NoAnswer(why(&how)),
    }
}

fn path(ocf_root: &Path, question: &Question) -> PathBuf {
    ocf_root.join("resource.d").join(&question.provider).join(&question.agent)
}

async fn run(
    ocf_root: &Path,
    question: &Question,
    path: PathBuf,
    action: &str,
    parameters: BTreeMap<String, String>,
) -> (How, String) {
    let mut environment = essentials();
    for (name, value) in [
        ("OCF_ROOT", ocf_root.to_string_lossy().into_owned()),
        ("OCF_RA_VERSION_MAJOR", "1".into()),
        ("OCF_RA_VERSION_MINOR", "1".into()),
        ("OCF_RESOURCE_INSTANCE", "asked".into()),
        ("OCF_RESOURCE_TYPE", question.agent.clone()),
        ("OCF_RESOURCE_PROVIDER", question.provider.clone()),
        ("OCF_CHECK_LEVEL", "0".into()),
        ("OCF_RESKEY_CRM_meta_timeout", AGENT_DEADLINE.as_millis().to_string()),
        ("OCF_RESKEY_CRM_meta_interval", "0".into()),
        ("OCF_RESKEY_CRM_meta_name", action.to_owned()),
        ("HA_LOGFACILITY", "none".into()),
        ("HA_debug", "0".into()),
    ] {
        environment.push((name.to_owned(), value));
    }
    for (name, value) in parameters {
        environment.push((format!("OCF_RESKEY_{name}"), value));
    }
    let arguments = vec![OsString::from(action)];
    let program = Program { path, arguments, environment, stdin: None, timeout: Some(AGENT_DEADLINE) };
    let ended = process::run(program, CancellationToken::new()).await;
    (ended.how, ended.output)
}

fn why(how: &How) -> String {
    match how {
        How::Exited(code) => format!("exit code {code}"),
        How::Signalled(signal) => format!("it was killed by signal {signal}"),
        How::TimedOut => format!("no answer within {AGENT_DEADLINE:?}; it was killed"),
        How::Aborted => "it was killed".to_owned(),
        How::NotStarted(error) => format!("it could not be run: {error}"),
    }
}
