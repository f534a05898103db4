//! The pages of settings: quorum, network, logging, fence daemon, resource manager. A page has several forms; each says
//! which one it is and becomes edits of cluster.conf, a version at once or a step of the reader's draft.

use axum::extract::{Path, State};
use shared::conf::duration::parse_duration_ms;
use shared::conf::edit::{AttributeChanges, Attributes, Edit, HeuristicSpec};
use shared::conf::model::Conf;
use shared::conf::{Document, Finding};
use shared::ids::NodeName;

use super::configure::{Known, changed, frame, known};
use super::error::PageError;
use super::forms::Fields;
use super::pages::{Page, at, draw, draw_refused, form_errors};
use super::session::Posted;
use crate::app::conf::Current;
use crate::app::{App, AppError, Who, errors_of};
use crate::views::manage::FormErrors;
use crate::views::settings::{
    CMAN, FENCE_DAEMON, Group, LINK, LOG_ALL, LOG_COROSYNC, LOG_LEVEL, LOG_RGMANAGER, PAGES, PORT, QDEVICE, QuorumCard,
    RM, SUBSYSTEMS, SectionForm, Setting, SettingsPage, TOTEM, Unit,
};

/// Links that cluster.conf has words for: the nodes' names and their altnames.
const LINKS: u32 = 2;

/// Empty rows for more programs.
const MORE_PROGRAMS: usize = 2;

/// A page of settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Quorum,
    Network,
    Logging,
    FenceDaemon,
    Rgmanager,
}

impl Room {
    /// Address and name.
    fn words(self) -> (&'static str, &'static str) {
        PAGES[self as usize]
    }

    fn sections(self, known: &Known) -> Vec<SectionForm> {
        let of = |element: &str| known.attributes(&format!("/cluster/{element}"));
        match self {
            Self::Quorum => vec![
                SectionForm::new("cman", "Votes of the Cluster", "", vec![Group::new("", "", CMAN, &of("cman"))]),
                votes(&known.conf),
                qdevice(&known.document, &of("qdevice")),
            ],
            Self::Network => vec![
                SectionForm::new(
                    "totem",
                    "Timeouts",
                    "Longer timeouts tolerate more, and make every failover slower by as much.",
                    vec![Group::new("", "", TOTEM, &of("totem"))],
                ),
                addresses(&known.conf),
                links(&known.document, &of("cman")),
            ],
            Self::Logging => vec![logging(&known.document, &of("logging"), &of("rm"), &known.conf)],
            Self::FenceDaemon => vec![SectionForm::new(
                "fence_daemon",
                "Fence Daemon",
                "",
                vec![Group::new("", "", FENCE_DAEMON, &of("fence_daemon"))],
            )],
            Self::Rgmanager => {
                vec![SectionForm::new("rm", "Resource Manager", "", vec![Group::new("", "", RM, &of("rm"))])]
            }
        }
    }
}

fn votes(conf: &Conf) -> SectionForm {
    let nodes = conf.nodes.iter().map(|node| (node.name.to_string(), node.votes.to_string())).collect();
    let form =
        SectionForm::new("votes", "Votes of the Nodes", "One each is right for nearly all clusters.", Vec::new());
    SectionForm { nodes, of_node: "Votes", ..form }
}

fn addresses(conf: &Conf) -> SectionForm {
    let nodes =
        conf.nodes.iter().map(|node| (node.name.to_string(), node.altname.clone().unwrap_or_default())).collect();
    let form = SectionForm::new(
        "addresses",
        "Second Link",
        "Messages travel by knet, encrypted. The first link uses the names of the nodes; the second needs another name or \
         address for every node. Empty all of them to use one link only.",
        Vec::new(),
    );
    SectionForm { nodes, of_node: "Name or Address on the Second Link", ..form }
}

fn links(document: &Document, cman: &Attributes) -> SectionForm {
    let mut groups = vec![Group::new("", "", PORT, cman)];
    for number in 0..LINKS {
        let interfaces = document.select("/cluster/totem/interface");
        let said = interfaces
            .into_iter()
            .find(|id| document.attribute(*id, "ringnumber").map_or("0", str::trim) == number.to_string());
        let values = said.map(|id| document.attributes(id).iter().cloned().collect()).unwrap_or_default();
        let group = Group::new("Link", &format!("link{number}-"), LINK, &values);
        groups.push(Group { of: number.to_string(), ..group });
    }
    SectionForm::new("links", "Links", "", groups)
}

fn qdevice(document: &Document, values: &Attributes) -> SectionForm {
    let heuristics = document.select("/cluster/qdevice/heuristic").into_iter().map(|id| {
        let text = |name: &str| document.attribute(id, name).unwrap_or_default().to_owned();
        (text("name"), text("program"))
    });
    let mut programs: Vec<(String, String)> = heuristics.collect();
    programs.extend(vec![Default::default(); MORE_PROGRAMS]);
    let form = SectionForm::new(
        "qdevice",
        "Quorum Device",
        "A host outside the cluster that runs corosync-qnetd votes when the cluster falls apart; it takes the place of the \
         quorum disk. Every node needs corosync-qdevice, which is started together with the cluster: after the first time, \
         stop and start the nodes one after the other.",
        vec![Group::new("", "", QDEVICE, values)],
    );
    SectionForm { programs: Some(programs), removable: !document.select("/cluster/qdevice").is_empty(), ..form }
}

fn logging(document: &Document, all: &Attributes, rm: &Attributes, conf: &Conf) -> SectionForm {
    let of = |name: &str, subsystem: Option<&str>| -> Attributes {
        let daemons = document.select("/cluster/logging/logging_daemon");
        let found = daemons
            .into_iter()
            .find(|id| document.attribute(*id, "name") == Some(name) && document.attribute(*id, "subsys") == subsystem);
        found.map(|id| document.attributes(id).iter().cloned().collect()).unwrap_or_default()
    };
    let others: Vec<String> = conf
        .logging
        .subsystems
        .iter()
        .map(|(name, _)| name.clone())
        .filter(|name| !SUBSYSTEMS.contains(&name.as_str()))
        .collect();
    let mut rgmanager = Group::new("rgmanager and fencing", "rgmanager-", LOG_RGMANAGER, &of("rgmanager", None));
    rgmanager.fields.extend(Group::new("", "rm-", LOG_LEVEL, rm).fields);
    SectionForm::new(
        "logging",
        "Logging",
        "corosync logs to syslog and to its file; rgmanager, which also fences, to the journal. luci's own log and ricci's \
         are set in their units.",
        vec![
            Group::new("All daemons", "all-", LOG_ALL, all),
            Group::new("corosync", "corosync-", LOG_COROSYNC, &of("corosync", None)),
            rgmanager,
            Group::subsystems(|name| of("corosync", Some(name)), &others),
        ],
    )
}

async fn page(
    app: &App,
    who: Who,
    cluster: &str,
    room: Room,
    sent: Option<(&Fields, FormErrors)>,
) -> Result<SettingsPage, PageError> {
    let known = known(app, &who, cluster).await?;
    let (address, title) = room.words();
    let mut sections = room.sections(&known);
    let errors = match sent {
        None => FormErrors::default(),
        Some((fields, errors)) => {
            for section in sections.iter_mut().filter(|section| section.id == fields.text("section")) {
                show_again(section, fields);
            }
            errors
        }
    };
    let (shell, head) = frame(app, who, &known.cluster, "configure").await?;
    Ok(SettingsPage {
        shell,
        head,
        room: address,
        title,
        quorum: (room == Room::Quorum).then(|| QuorumCard::new(&known.conf)),
        sections,
        base: known.base(),
        cluster: known.cluster.name,
        errors,
    })
}

/// What was entered, so that a mistake does not cost the rest.
fn show_again(section: &mut SectionForm, fields: &Fields) {
    for field in section.groups.iter_mut().flat_map(|group| &mut group.fields) {
        field.value = fields.text(&field.id()).to_owned();
    }
    for (row, (_, value)) in section.nodes.iter_mut().enumerate() {
        *value = fields.text(&format!("node-{row}-value")).to_owned();
    }
    for (row, (name, program)) in section.programs.iter_mut().flatten().enumerate() {
        *name = fields.text(&format!("heuristic-{row}-name")).to_owned();
        *program = fields.text(&format!("heuristic-{row}-program")).to_owned();
    }
}

/// A value in the unit of cluster.conf: `10s` is taken where milliseconds stand.
fn in_unit(setting: &Setting, field: &str, text: &str) -> Result<String, AppError> {
    let unit_ms = match setting.unit {
        Unit::Milliseconds => 1,
        Unit::Seconds => 1000,
        Unit::None => return Ok(text.to_owned()),
    };
    if text.is_empty() || text.parse::<i64>().is_ok() {
        return Ok(text.to_owned());
    }
    let wrong = || {
        AppError::field(field, format!("{text} is not a time that can be used here; write a number, or e.g. 10s or 2m"))
    };
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (digits, word) = (&text[..split], text[split..].trim());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let ms = match word {
        "ms" => number,
        "s" | "m" | "h" => number.checked_mul(parse_duration_ms(&format!("1{word}"))).ok_or_else(wrong)?,
        _ => return Err(wrong()),
    };
    if ms % unit_ms == 0 { Ok((ms / unit_ms).to_string()) } else { Err(wrong()) }
}

/// The changes of a group's attributes; fields that the form did not have are left alone.
fn changes(fields: &Fields, prefix: &str, settings: &[Setting]) -> Result<AttributeChanges, AppError> {
    let mut changes = AttributeChanges::new();
    for setting in settings {
        let field = format!("a-{prefix}{}", setting.name);
        if fields.checked(&field) {
            let value = in_unit(setting, &field, fields.text(&field))?;
            changes.insert(setting.name.to_owned(), Some(value).filter(|value| !value.is_empty()));
        }
    }
    Ok(changes)
}

fn node_rows(fields: &Fields) -> Vec<(NodeName, String)> {
    let rows = (0..fields.rows("node")).map(|row| {
        (NodeName::from(fields.text(&format!("node-{row}-name"))), fields.text(&format!("node-{row}-value")).to_owned())
    });
    rows.filter(|(name, _)| !name.0.is_empty()).collect()
}

/// Votes that differ from what is stored; one vote is not written.
fn vote_edits(fields: &Fields, current: &Current) -> Vec<Edit> {
    let stored = |name: &NodeName| current.loaded.conf.as_ref().and_then(|conf| conf.node(name)).map(|node| node.votes);
    let rows = node_rows(fields).into_iter();
    let differing = rows.filter(|(name, value)| {
        stored(name).is_some_and(|votes| value.parse() != Ok(votes) && !(value.is_empty() && votes == 1))
    });
    differing
        .map(|(name, value)| {
            let value = Some(value).filter(|value| !value.is_empty() && value != "1");
            Edit::SetNode { name, attributes: [("votes".to_owned(), value)].into(), altname: None }
        })
        .collect()
}

/// All addresses of the second link at once: it is there for every node or for none.
fn address_edits(fields: &Fields) -> Vec<Edit> {
    let rows = node_rows(fields).into_iter();
    rows.map(|(name, value)| Edit::SetNode { name, attributes: AttributeChanges::new(), altname: Some(value) })
        .collect()
}

fn qdevice_edits(fields: &Fields) -> Result<Vec<Edit>, AppError> {
    if fields.checked("remove") {
        return Ok(vec![Edit::RemoveQdevice]);
    }
    let rows = (0..fields.rows("heuristic")).map(|row| HeuristicSpec {
        name: fields.text(&format!("heuristic-{row}-name")).to_owned(),
        program: fields.text(&format!("heuristic-{row}-program")).to_owned(),
    });
    let heuristics = rows.filter(|row| !row.program.is_empty()).collect();
    if fields.text("a-host").is_empty() {
        return Err(AppError::field("a-host", "name the host that runs corosync-qnetd"));
    }
    Ok(vec![Edit::SetQdevice { attributes: changes(fields, "", QDEVICE)?, heuristics: Some(heuristics) }])
}

fn logging_edits(fields: &Fields) -> Result<Vec<Edit>, AppError> {
    let of = |daemon: &str, subsys: Option<&str>, attributes| Edit::SetLogging {
        daemon: Some(daemon.to_owned()),
        subsys: subsys.map(str::to_owned),
        attributes,
    };
    let mut edits = vec![
        Edit::SetLogging { daemon: None, subsys: None, attributes: changes(fields, "all-", LOG_ALL)? },
        of("corosync", None, changes(fields, "corosync-", LOG_COROSYNC)?),
        of("rgmanager", None, changes(fields, "rgmanager-", LOG_RGMANAGER)?),
        Edit::SetRm { attributes: changes(fields, "rm-", LOG_LEVEL)? },
    ];
    for (name, value) in fields.prefixed("a-sub-") {
        let Some(subsystem) = name.strip_suffix("-debug") else { continue };
        let value = Some(value).filter(|value| !value.is_empty());
        edits.push(of("corosync", Some(subsystem), [("debug".to_owned(), value)].into()));
    }
    Ok(edits)
}

/// What a form asks for, and how the version's message puts it.
fn edits(fields: &Fields, current: &Current) -> Result<Vec<Edit>, AppError> {
    let edits = match fields.text("section") {
        "cman" => vec![Edit::SetCman { attributes: changes(fields, "", CMAN)? }],
        "votes" => vote_edits(fields, current),
        "qdevice" => qdevice_edits(fields)?,
        "totem" => vec![Edit::SetTotem { attributes: changes(fields, "", TOTEM)? }],
        "addresses" => address_edits(fields),
        "links" => {
            let mut edits = vec![Edit::SetCman { attributes: changes(fields, "", PORT)? }];
            for number in 0..LINKS {
                edits.push(Edit::SetLink { number, attributes: changes(fields, &format!("link{number}-"), LINK)? });
            }
            edits
        }
        "logging" => logging_edits(fields)?,
        "fence_daemon" => vec![Edit::SetFenceDaemon { attributes: changes(fields, "", FENCE_DAEMON)? }],
        "rm" => vec![Edit::SetRm { attributes: changes(fields, "", RM)? }],
        section => return Err(AppError::NoSuch { what: "section", name: section.to_owned() }),
    };
    Ok(edits.into_iter().filter(|edit| !says_nothing(edit, current)).collect())
}

/// Whether an edit would only make an element that is empty: a form that was sent as it was shall change no byte.
fn says_nothing(edit: &Edit, current: &Current) -> bool {
    let (element, attributes) = match edit {
        Edit::SetCman { attributes } => ("cman", attributes),
        Edit::SetTotem { attributes } => ("totem", attributes),
        Edit::SetFenceDaemon { attributes } => ("fence_daemon", attributes),
        Edit::SetRm { attributes } => ("rm", attributes),
        Edit::SetLogging { daemon: None, attributes, .. } => ("logging", attributes),
        _ => return false,
    };
    attributes.values().all(Option::is_none)
        && current.loaded.document.select(&format!("/cluster/{element}")).is_empty()
}

fn message(section: &str, fields: &Fields) -> &'static str {
    match section {
        "cman" => "quorum settings changed",
        "votes" => "votes changed",
        "qdevice" if fields.checked("remove") => "quorum device removed",
        "qdevice" => "quorum device changed",
        "totem" => "timeouts of corosync changed",
        "addresses" => "addresses of the second link changed",
        "links" => "links changed",
        "logging" => "logging changed",
        "fence_daemon" => "settings of the fence daemon changed",
        _ => "settings of the resource manager changed",
    }
}

/// The mistakes; those that checking found in an attribute of the form stand at its field.
fn mistakes(error: AppError, section: &str) -> Result<FormErrors, PageError> {
    let AppError::Findings(findings) = error else { return form_errors(error) };
    let at_field = |finding: &Finding| {
        let (element, attribute) = finding.place.path.rsplit_once("/@")?;
        let prefix = match element.strip_prefix("/cluster/")? {
            name if name == section => "",
            "cman" if section == "links" => "",
            "logging" => "all-",
            "logging/logging_daemon[@name='corosync']" => "corosync-",
            "logging/logging_daemon[@name='rgmanager']" => "rgmanager-",
            "rm" if section == "logging" => "rm-",
            _ => return None,
        };
        Some(format!("a-{prefix}{attribute}"))
    };
    let lines = errors_of(&findings).map(|finding| {
        let text = format!("{}: {}. {}", finding.place.path, finding.text, finding.hint);
        (at_field(finding).unwrap_or_else(|| "form".into()), text)
    });
    Ok(FormErrors(lines.collect()))
}

async fn show(app: App, who: Who, cluster: &str, room: Room) -> Page {
    draw(&page(&app, who, cluster, room, None).await?)
}

async fn set(app: App, cluster: &str, room: Room, Posted { who, fields }: Posted) -> Page {
    let row = app.cluster(cluster).await?;
    let section = fields.text("section").to_owned();
    let result = match fields.base() {
        Ok(base) => {
            app.change_conf(&who, &row, base, message(&section, &fields), |current| edits(&fields, current)).await
        }
        Err(error) => Err(error),
    };
    match result {
        Ok(done) => {
            let to = at(&row, &format!("/configure/{}", room.words().0));
            changed(&app, &who, &to, "Settings changed", &done).await
        }
        Err(error) => {
            let errors = mistakes(error, &section)?;
            draw_refused(&page(&app, who, cluster, room, Some((&fields, errors))).await?)
        }
    }
}

pub(super) async fn quorum(State(app): State<App>, who: Who, Path(cluster): Path<String>) -> Page {
    show(app, who, &cluster, Room::Quorum).await
}

pub(super) async fn set_quorum(State(app): State<App>, Path(cluster): Path<String>, posted: Posted) -> Page {
    set(app, &cluster, Room::Quorum, posted).await
}

pub(super) async fn network(State(app): State<App>, who: Who, Path(cluster): Path<String>) -> Page {
    show(app, who, &cluster, Room::Network).await
}

pub(super) async fn set_network(State(app): State<App>, Path(cluster): Path<String>, posted: Posted) -> Page {
    set(app, &cluster, Room::Network, posted).await
}

pub(super) async fn log_settings(State(app): State<App>, who: Who, Path(cluster): Path<String>) -> Page {
    show(app, who, &cluster, Room::Logging).await
}

pub(super) async fn set_logging(State(app): State<App>, Path(cluster): Path<String>, posted: Posted) -> Page {
    set(app, &cluster, Room::Logging, posted).await
}

pub(super) async fn fence_daemon(State(app): State<App>, who: Who, Path(cluster): Path<String>) -> Page {
    show(app, who, &cluster, Room::FenceDaemon).await
}

pub(super) async fn set_fence_daemon(State(app): State<App>, Path(cluster): Path<String>, posted: Posted) -> Page {
    set(app, &cluster, Room::FenceDaemon, posted).await
}

pub(super) async fn rgmanager(State(app): State<App>, who: Who, Path(cluster): Path<String>) -> Page {
    show(app, who, &cluster, Room::Rgmanager).await
}

pub(super) async fn set_rgmanager(State(app): State<App>, Path(cluster): Path<String>, posted: Posted) -> Page {
    set(app, &cluster, Room::Rgmanager, posted).await
}
