//! Changes of a service's tree of resources, one at a time: what the pages' buttons and the API ask for, as values, and their
//! application to the tree. Pure. A place that is not there any more is refused, never guessed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use shared::agents::mapping;
use shared::conf::edit::{AttributeChanges, Attributes, Edit, ResourceSpec, ServiceSpec};
use shared::ids::ServiceName;

use super::AppError;
use super::conf::Current;

/// Where a resource stands: its index on each level, from 0. `0.1` is the second child of the first resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Place(Vec<usize>);

impl FromStr for Place {
    type Err = AppError;

    /// Empty: the service itself.
    fn from_str(text: &str) -> Result<Self, AppError> {
        let index = |index: &str| {
            index.parse().map_err(|_| AppError::NoSuch { what: "place in the tree", name: text.to_owned() })
        };
        match text {
            "" => Ok(Self::default()),
            text => text.split('.').map(index).collect::<Result<_, _>>().map(Self),
        }
    }
}

impl TryFrom<String> for Place {
    type Error = AppError;

    fn try_from(text: String) -> Result<Self, AppError> {
        text.parse()
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("."))
    }
}

/// Which way a resource goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Before the one before it.
    Up,
    /// Behind the one behind it.
    Down,
    /// To the end of the children of the one before it.
    In,
    /// Behind its parent.
    Out,
}

/// One change of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case", deny_unknown_fields)]
pub enum TreeChange {
    /// As the last child of `parent`, or at an index among its children.
    Add {
        #[serde(default)]
        parent: Place,
        #[serde(default)]
        at: Option<usize>,
        resource: ResourceSpec,
    },
    /// Attributes that are not named stay; so do the actions unless they are given.
    Set {
        place: Place,
        #[serde(default)]
        attributes: AttributeChanges,
        #[serde(default)]
        actions: Option<Vec<Attributes>>,
    },
    /// With everything below it.
    Move { place: Place, to: Direction },
    /// With everything below it, unless `keep_children`: then these take its place.
    Remove {
        place: Place,
        #[serde(default)]
        keep_children: bool,
    },
}

/// A place that was named is not there (any more).
fn gone() -> AppError {
    AppError::Conflict("this resource is not there any more; reload the page".into())
}

/// The list that the last index of a place counts in, and that index.
fn level<'t>(tree: &'t mut Vec<ResourceSpec>, place: &[usize]) -> Result<(&'t mut Vec<ResourceSpec>, usize), AppError> {
    match place {
        [] => Err(gone()),
        [last] if *last < tree.len() => Ok((tree, *last)),
        [_] => Err(gone()),
        [first, rest @ ..] => level(&mut tree.get_mut(*first).ok_or_else(gone)?.children, rest),
    }
}

/// The resource at a place.
pub fn find<'t>(tree: &'t [ResourceSpec], place: &Place) -> Option<&'t ResourceSpec> {
    let (first, rest) = place.0.split_first()?;
    rest.iter().try_fold(tree.get(*first)?, |spec, index| spec.children.get(*index))
}

/// What a resource is called: its reference, or the value of its naming attribute.
pub fn name(spec: &ResourceSpec) -> Option<&str> {
    let own = |key: &str| spec.attributes.get(key).map(String::as_str);
    spec.reference.as_deref().or_else(|| mapping::primary_value(&spec.kind, own))
}

/// Tells a resource from another that may have come to stand in its place: `fs data`.
pub fn identity(spec: &ResourceSpec) -> String {
    format!("{} {}", spec.kind, name(spec).unwrap_or_default())
}

/// Refuses unless `expected` is empty or what stands at the place.
pub fn expect(tree: &[ResourceSpec], place: &Place, expected: &str) -> Result<(), AppError> {
    let same = expected.is_empty() || find(tree, place).is_some_and(|spec| identity(spec) == expected);
    if same { Ok(()) } else { Err(gone()) }
}

/// Carries a change out.
pub fn apply(tree: &mut Vec<ResourceSpec>, change: &TreeChange) -> Result<(), AppError> {
    match change {
        TreeChange::Add { parent, at, resource } => {
            let siblings = match parent.0.as_slice() {
                [] => tree,
                place => {
                    let (list, index) = level(tree, place)?;
                    &mut list[index].children
                }
            };
            siblings.insert(at.unwrap_or(siblings.len()).min(siblings.len()), resource.clone());
        }
        TreeChange::Set { place, attributes, actions } => {
            let (list, index) = level(tree, &place.0)?;
            set(&mut list[index], attributes, actions.as_ref());
        }
        TreeChange::Move { place, to } => shift(tree, &place.0, *to)?,
        TreeChange::Remove { place, keep_children } => {
            let (list, index) = level(tree, &place.0)?;
            let removed = list.remove(index);
            if *keep_children {
                list.splice(index..index, removed.children);
            }
        }
    }
    Ok(())
}

fn set(spec: &mut ResourceSpec, attributes: &AttributeChanges, actions: Option<&Vec<Attributes>>) {
    for (name, value) in attributes {
        match value.as_ref().filter(|value| !value.is_empty()) {
            Some(value) => spec.attributes.insert(name.clone(), value.clone()),
            None => spec.attributes.remove(name),
        };
    }
    if let Some(actions) = actions {
        spec.actions.clone_from(actions);
    }
}

fn shift(tree: &mut Vec<ResourceSpec>, place: &[usize], to: Direction) -> Result<(), AppError> {
    let nowhere = |text: &str| AppError::Conflict(text.into());
    let (list, index) = level(tree, place)?;
    match to {
        Direction::Up if index > 0 => list.swap(index, index - 1),
        Direction::Up => return Err(nowhere("it is the first one there already")),
        Direction::Down if index + 1 < list.len() => list.swap(index, index + 1),
        Direction::Down => return Err(nowhere("it is the last one there already")),
        Direction::In if index > 0 => {
            let moved = list.remove(index);
            list[index - 1].children.push(moved);
        }
        Direction::In => return Err(nowhere("there is nothing before it that it could become a child of")),
        Direction::Out => {
            let above = &place[..place.len() - 1];
            if above.is_empty() {
                return Err(nowhere("it stands at the top of the tree already"));
            }
            let moved = list.remove(index);
            let (list, parent) = level(tree, above)?;
            list.insert(parent + 1, moved);
        }
    }
    Ok(())
}

/// The edit that makes the tree of a service the changed one.
pub fn edit(
    current: &Current,
    service: &ServiceName,
    change: impl FnOnce(&mut Vec<ResourceSpec>) -> Result<(), AppError>,
) -> Result<Edit, AppError> {
    let spec = ServiceSpec::read(&current.loaded.document, service);
    let mut tree = spec.ok_or_else(|| AppError::NoSuch { what: "service", name: service.0.clone() })?.resources;
    change(&mut tree)?;
    Ok(Edit::SetService { name: service.clone(), attributes: AttributeChanges::new(), resources: Some(tree) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, children: Vec<ResourceSpec>) -> ResourceSpec {
        let attributes = [("name".to_owned(), name.to_owned())].into();
        ResourceSpec { kind: "fs".into(), reference: None, attributes, actions: Vec::new(), children }
    }

    /// `a(b c) d`
    fn tree() -> Vec<ResourceSpec> {
        vec![spec("a", vec![spec("b", vec![]), spec("c", vec![])]), spec("d", vec![])]
    }

    fn shown(tree: &[ResourceSpec]) -> String {
        let one = |spec: &ResourceSpec| match shown(&spec.children) {
            below if below.is_empty() => name(spec).unwrap_or("?").to_owned(),
            below => format!("{}({below})", name(spec).unwrap_or("?")),
        };
        tree.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    fn changed(change: &TreeChange) -> Result<String, String> {
        let mut tree = tree();
        apply(&mut tree, change).map_err(|error| error.to_string())?;
        Ok(shown(&tree))
    }

    #[test]
    fn a_resource_moves_up_down_in_and_out_with_what_is_below_it() {
        let moved = |place: &str, to| changed(&TreeChange::Move { place: place.parse().unwrap(), to });
        assert_eq!(moved("0.1", Direction::Up).unwrap(), "a(c b) d");
        assert_eq!(moved("0", Direction::Down).unwrap(), "d a(b c)");
        assert_eq!(moved("1", Direction::In).unwrap(), "a(b c d)");
        assert_eq!(moved("0.1", Direction::In).unwrap(), "a(b(c)) d");
        assert_eq!(moved("0.0", Direction::Out).unwrap(), "a(c) b d");
        for (place, to) in [("0", Direction::Up), ("1", Direction::Down), ("0", Direction::In), ("1", Direction::Out)] {
            assert!(moved(place, to).unwrap_err().contains("already") || to == Direction::In, "{place} {to:?}");
            assert!(moved(place, to).is_err());
        }
        for place in ["2", "0.2", "0.0.0", ""] {
            assert!(moved(place, Direction::Up).unwrap_err().contains("not there any more"), "{place}");
        }
    }

    #[test]
    fn a_resource_is_added_at_a_place_and_removed_with_or_without_its_children() {
        let add = |parent: &str, at| {
            changed(&TreeChange::Add { parent: parent.parse().unwrap(), at, resource: spec("x", vec![]) })
        };
        assert_eq!(add("", None).unwrap(), "a(b c) d x");
        assert_eq!(add("0", Some(1)).unwrap(), "a(b x c) d");
        assert_eq!(add("0.0", None).unwrap(), "a(b(x) c) d");
        let remove = |keep_children| changed(&TreeChange::Remove { place: "0".parse().unwrap(), keep_children });
        assert_eq!(remove(false).unwrap(), "d");
        assert_eq!(remove(true).unwrap(), "b c d");
    }

    #[test]
    fn setting_attributes_keeps_the_others_and_what_stands_elsewhere() {
        let mut tree = tree();
        tree[1].attributes.insert("device".into(), "/dev/sdb".into());
        tree[1].actions = vec![[("name".to_owned(), "stop".to_owned())].into()];
        let attributes = [("device".to_owned(), None), ("mountpoint".to_owned(), Some("/srv".to_owned()))].into();
        apply(&mut tree, &TreeChange::Set { place: "1".parse().unwrap(), attributes, actions: None }).unwrap();
        assert_eq!(tree[1].attributes.keys().collect::<Vec<_>>(), ["mountpoint", "name"]);
        assert_eq!(tree[1].actions.len(), 1);
    }

    #[test]
    fn another_resource_in_the_same_place_is_not_taken_for_it() {
        assert!(expect(&tree(), &"0.1".parse().unwrap(), "fs c").is_ok());
        assert!(expect(&tree(), &"0.1".parse().unwrap(), "").is_ok());
        assert!(expect(&tree(), &"0.1".parse().unwrap(), "fs b").is_err());
        assert!("0.x".parse::<Place>().is_err());
    }
}
