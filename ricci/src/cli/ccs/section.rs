//! Options of `ccs` that work on one element by its place: sections of `<cluster>`, resources inside a service, actions,
//! and the expert options. Pure, like `edit`, which calls it.

use shared::conf::edit::AttributeChanges;
use shared::conf::{Document, Edit, ElementId, apply};

use super::edit::pairs;
use super::fault::Fault;
use super::options::is_name;
use super::splice;

type Pairs = Vec<(String, String)>;

/// One of these options; `None` if it is none of them.
pub(super) fn edit(command: &str, words: &[&str], document: &Document) -> Result<Option<Document>, Fault> {
    let changed = match (command, words) {
        ("settotem", _) => set_known(document, "totem", words, |attributes| Edit::SetTotem { attributes })?,
        ("setcman", _) => set_known(document, "cman", words, |attributes| Edit::SetCman { attributes })?,
        ("setrm", _) => set_known(document, "rm", words, |attributes| Edit::SetRm { attributes })?,
        ("setfencedaemon", _) => {
            set_known(document, "fence_daemon", words, |attributes| Edit::SetFenceDaemon { attributes })?
        }
        ("setdlm", _) => set_section(document, "dlm", &pairs(words)?)?,
        ("setlogging", _) => set_section(document, "logging", &pairs(words)?)?,
        ("setquorumd", _) => set_section(document, "quorumd", &pairs(words)?)?,
        ("setmulticast", _) => set_multicast(document, "multicast", words)?,
        ("setaltmulticast", _) => set_multicast(document, "altmulticast", words)?,
        ("addlogging", _) => {
            let attributes = pairs(words)?;
            if !attributes.iter().any(|(name, _)| name == "name") {
                return Err(Fault::new("--addlogging needs name= with the name of a daemon"));
            }
            add_to(document, "logging", "logging_daemon", &attributes)?
        }
        ("rmlogging", _) => remove_matching(document, "/cluster/logging/logging_daemon", "logging_daemon", words)?,
        ("addheuristic", []) => {
            return Err(Fault::new("You must specify at least one option when adding a heuristic."));
        }
        ("addheuristic", _) => add_to(document, "quorumd", "heuristic", &pairs(words)?)?,
        ("rmheuristic", _) => remove_matching(document, "/cluster/quorumd/heuristic", "heuristic", words)?,
        ("setuidgid", _) => set_uidgid(document, words)?,
        ("rmuidgid", _) => remove_matching(document, "/cluster/uidgid", "uidgid", words)?,
        ("exp", [tag, rest @ ..]) => add_anything(document, tag, rest)?,
        ("exprm", [location]) => {
            let element = locate(document, root(document)?, location)
                .ok_or_else(|| Fault::new(format!("Unable to find {location}")))?;
            splice::remove(document, element)?
        }
        _ => return Ok(None),
    };
    Ok(Some(changed))
}

fn root(document: &Document) -> Result<ElementId, Fault> {
    document.root().ok_or_else(|| Fault::new("this is not a cluster.conf that can be edited: correct it by hand first"))
}

/// The section as the words say, nothing left of what it said before, as in the original.
fn set_known(
    document: &Document,
    name: &str,
    words: &[&str],
    edit: impl Fn(AttributeChanges) -> Edit,
) -> Result<Document, Fault> {
    let section = document.child(root(document)?, name);
    let present = section.map(|id| document.attributes(id)).unwrap_or_default();
    let mut changes: AttributeChanges = present.iter().map(|(name, _)| (name.clone(), None)).collect();
    changes.extend(pairs(words)?.into_iter().map(|(name, value)| (name, Some(value))));
    let mut changed = document.clone();
    apply(&mut changed, &edit(changes))?;
    Ok(changed)
}

/// The document with the section in it.
fn ensure(document: &Document, name: &str) -> Result<(Document, ElementId), Fault> {
    let parent = root(document)?;
    let document = match document.child(parent, name) {
        Some(_) => document.clone(),
        None => splice::append(document, parent, name, &[])?,
    };
    let section = document.child(root(&document)?, name);
    section.map(|section| (document, section)).ok_or_else(|| Fault::new(format!("<{name}> could not be made")))
}

fn set_section(document: &Document, name: &str, attributes: &Pairs) -> Result<Document, Fault> {
    let (document, section) = ensure(document, name)?;
    splice::set_attributes(&document, section, attributes)
}

fn add_to(document: &Document, section: &str, name: &str, attributes: &Pairs) -> Result<Document, Fault> {
    let (document, section) = ensure(document, section)?;
    splice::append(&document, section, name, attributes)
}

fn set_multicast(document: &Document, name: &str, words: &[&str]) -> Result<Document, Fault> {
    let (mut document, cman) = ensure(document, "cman")?;
    if let Some(present) = document.child(cman, name) {
        document = splice::remove(&document, present)?;
    }
    let Some((address, rest)) = words.split_first() else { return Ok(document) };
    let mut attributes = vec![("addr".to_owned(), (*address).to_owned())];
    attributes.extend(pairs(rest)?);
    add_to(&document, "cman", name, &attributes)
}

fn matching(document: &Document, path: &str, wanted: &Pairs) -> Option<ElementId> {
    let matches = |id: &ElementId| wanted.iter().all(|(name, value)| document.attribute(*id, name) == Some(value));
    document
        .select(path)
        .into_iter()
        .find(|id| matches(id) && (!wanted.is_empty() || document.attributes(*id).is_empty()))
}

/// Removes the first element that has all these attributes.
fn remove_matching(document: &Document, path: &str, title: &str, words: &[&str]) -> Result<Document, Fault> {
    let found = matching(document, path, &pairs(words)?)
        .ok_or_else(|| Fault::new(format!("Unable to find matching {title}: {}", words.join(", "))))?;
    splice::remove(document, found)
}

fn set_uidgid(document: &Document, words: &[&str]) -> Result<Document, Fault> {
    let attributes = pairs(words)?;
    let of_it = |(name, _): &(String, String)| matches!(name.as_str(), "uid" | "gid");
    if attributes.is_empty() || !attributes.iter().all(of_it) {
        return Err(Fault::new("--setuidgid takes uid= and gid= and at least one of them"));
    }
    let same = |id: &ElementId| {
        document.attributes(*id).len() == attributes.len()
            && attributes.iter().all(|(name, value)| document.attribute(*id, name) == Some(value))
    };
    if document.select("/cluster/uidgid").iter().any(same) {
        return Err(Fault::new(format!("uidgid {} already exists in cluster.conf.", words.join(", "))));
    }
    splice::append(document, root(document)?, "uidgid", &attributes)
}

fn add_anything(document: &Document, tag: &str, words: &[&str]) -> Result<Document, Fault> {
    check_name(tag)?;
    let top = root(document)?;
    let (parent, rest) = match words.split_first() {
        Some((location, rest)) if !location.contains('=') => {
            let parent =
                locate(document, top, location).ok_or_else(|| Fault::new(format!("Unable to find {location}")))?;
            (parent, rest)
        }
        _ => (top, words),
    };
    splice::append(document, parent, tag, &pairs(rest)?)
}

fn check_name(name: &str) -> Result<(), Fault> {
    if is_name(name) { Ok(()) } else { Err(Fault::new(format!("'{name}' cannot be the name of an element"))) }
}

fn owner(document: &Document, name: &str) -> Option<ElementId> {
    ["/cluster/rm/service", "/cluster/rm/vm"]
        .into_iter()
        .flat_map(|path| document.select(path))
        .find(|id| document.attribute(*id, "name") == Some(name))
}

fn service(document: &Document, name: &str) -> Result<ElementId, Fault> {
    owner(document, name).ok_or_else(|| Fault::new(format!("Unable to find service: {name}")))
}

/// `type[index]:type[index]`, counted from 0 among the children of that type.
fn locate(document: &Document, from: ElementId, location: &str) -> Option<ElementId> {
    location.split(':').try_fold(from, |at, step| {
        let (name, index) = match step.split_once('[') {
            Some((name, rest)) => (name, rest.strip_suffix(']')?.parse().ok()?),
            None => (step, 0),
        };
        document.children_named(at, name).nth(index)
    })
}

/// `--addsubservice`: the last step of the path is the type of what is new.
pub(super) fn add_below(document: &Document, name: &str, path: &str, words: &[&str]) -> Result<Document, Fault> {
    let service = service(document, name)?;
    let (parent, kind) = match path.rsplit_once(':') {
        Some((location, kind)) => {
            let parent = locate(document, service, location)
                .ok_or_else(|| Fault::new(format!("Unable to find service {location}")))?;
            (parent, kind)
        }
        None => (service, path),
    };
    check_name(kind)?;
    splice::append(document, parent, kind, &pairs(words)?)
}

/// `--rmsubservice`.
pub(super) fn remove_below(document: &Document, name: &str, path: &str) -> Result<Document, Fault> {
    let found = locate(document, service(document, name)?, path)
        .ok_or_else(|| Fault::new(format!("Unable to find service {path}")))?;
    splice::remove(document, found)
}

/// The service, virtual machine or shared resource with this name.
fn acting(document: &Document, name: &str) -> Result<ElementId, Fault> {
    let resource = || {
        let resources = document.select("/cluster/rm/resources").into_iter();
        let mut all = resources.flat_map(|resources| document.children(resources).collect::<Vec<_>>());
        all.find(|id| document.attribute(*id, "name") == Some(name))
    };
    owner(document, name)
        .or_else(resource)
        .ok_or_else(|| Fault::new(format!("Unable to find a service, virtual machine or resource named {name}")))
}

/// `--addaction`.
pub(super) fn add_action(document: &Document, of: &str, action: &str, words: &[&str]) -> Result<Document, Fault> {
    let parent = acting(document, of)?;
    let mut attributes = vec![("name".to_owned(), action.to_owned())];
    attributes.extend(pairs(words)?.into_iter().filter(|(name, _)| name != "name"));
    splice::append(document, parent, "action", &attributes)
}

/// `--rmaction`: those with this name and these attributes, or all.
pub(super) fn remove_actions(document: &Document, of: &str, words: &[&str]) -> Result<Document, Fault> {
    let mut wanted = Pairs::new();
    if let Some((action, rest)) = words.split_first() {
        wanted.push(("name".to_owned(), (*action).to_owned()));
        wanted.extend(pairs(rest)?);
    }
    let mut document = document.clone();
    let mut removed = 0;
    loop {
        let parent = acting(&document, of)?;
        let found = document
            .children_named(parent, "action")
            .find(|id| wanted.iter().all(|(name, value)| document.attribute(*id, name) == Some(value)));
        let Some(action) = found else { break };
        document = splice::remove(&document, action)?;
        removed += 1;
    }
    if removed == 0 {
        return Err(Fault::new(format!("Unable to find a matching action of {of}: {}", words.join(", "))));
    }
    Ok(document)
}
