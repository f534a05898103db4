//! The order in which the resources of a service start and stop (rhcs.md §5.3, exact).
//!
//! Asked by the walk over a service's tree and by the preview of it. Pure order: nothing here knows whether a resource
//! runs, or what happens after a failure.

use crate::conf::model::{Resource, Service};

/// Start and stop level of a type below a type; `None`: the type is untyped there and comes after (start) or before
/// (stop) everything that has a level.
fn levels(parent_kind: &str, kind: &str) -> Option<(u8, u8)> {
    let table: &[(&str, u8, u8)] = match parent_kind {
        "service" => &[
            ("lvm", 1, 9),
            ("fs", 2, 8),
            ("clusterfs", 3, 7),
            ("netfs", 4, 6),
            ("nfsexport", 5, 5),
            ("nfsclient", 6, 4),
            ("ip", 7, 2),
            ("smb", 8, 3),
            ("script", 9, 1),
        ],
        "fs" | "clusterfs" => &[("fs", 1, 3), ("clusterfs", 1, 3), ("nfsexport", 3, 1)],
        "nfsserver" => &[("nfsclient", 1, 2), ("ip", 2, 1)],
        _ => &[],
    };
    table.iter().find(|(name, _, _)| *name == kind).map(|(_, start, stop)| (*start, *stop))
}

/// Whether the original refuses a type directly below another.
pub fn is_forbidden_child(parent_kind: &str, kind: &str) -> bool {
    match parent_kind {
        "ip" | "netfs" => matches!(kind, "nfsclient" | "nfsexport"),
        "nfsserver" => matches!(kind, "nfsexport" | "nfsserver"),
        "nfsexport" | "bind-mount" => kind == "nfsexport",
        _ => false,
    }
}

/// The children of a resource of type `parent_kind` (`service` for the top of a tree) in the order in which they start:
/// after their parent, each with its whole subtree before the next.
pub fn child_start_order<'a>(parent_kind: &str, children: &'a [Resource]) -> Vec<&'a Resource> {
    let mut order: Vec<&Resource> = children.iter().collect();
    // The sort is stable: within a level, and among the untyped, document order counts.
    order.sort_by_key(|child| levels(parent_kind, &child.kind).map_or(u8::MAX, |(start, _)| start));
    order
}

/// The same children in the order in which they stop: before their parent, each with its whole subtree before the next.
/// Not the reverse of the start order, because types have a stop level of their own.
pub fn child_stop_order<'a>(parent_kind: &str, children: &'a [Resource]) -> Vec<&'a Resource> {
    let mut order: Vec<&Resource> = children.iter().rev().collect();
    order.sort_by_key(|child| levels(parent_kind, &child.kind).map_or(0, |(_, stop)| stop));
    order
}

/// All resources of a service in the order in which they start.
pub fn start_order(service: &Service) -> Vec<&Resource> {
    let mut order = Vec::new();
    push_started("service", &service.tree, &mut order);
    order
}

fn push_started<'a>(parent_kind: &str, children: &'a [Resource], order: &mut Vec<&'a Resource>) {
    for child in child_start_order(parent_kind, children) {
        order.push(child);
        push_started(&child.kind, &child.children, order);
    }
}

/// All resources of a service in the order in which they stop.
pub fn stop_order(service: &Service) -> Vec<&Resource> {
    let mut order = Vec::new();
    push_stopped("service", &service.tree, &mut order);
    order
}

fn push_stopped<'a>(parent_kind: &str, children: &'a [Resource], order: &mut Vec<&'a Resource>) {
    for child in child_stop_order(parent_kind, children) {
        push_stopped(&child.kind, &child.children, order);
        order.push(child);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf;

    fn service(inside: &str) -> Service {
        let text =
            format!("<cluster name='c' config_version='1'><rm><service name='s'>{inside}</service></rm></cluster>");
        let (document, findings) = conf::Document::parse(&text);
        assert!(findings.is_empty(), "{findings:?}");
        conf::view::read(&document).0.unwrap().services.remove(0)
    }

    fn names(resources: &[&Resource]) -> String {
        let names: Vec<_> = resources.iter().map(|resource| resource.name.0.split(':').next_back().unwrap()).collect();
        names.join(" ")
    }

    #[test]
    fn types_start_and_stop_by_their_levels_and_the_untyped_by_document_order() {
        let kinds = [
            "apache",
            "script",
            "smb",
            "nfsclient",
            "nfsexport",
            "ip",
            "netfs",
            "mysql",
            "clusterfs",
            "fs",
            "lvm",
            "bind-mount",
        ];
        let elements: String = kinds
            .iter()
            .map(
                |kind| if *kind == "ip" { "<ip address='ip'/>".to_owned() } else { format!("<{kind} name='{kind}'/>") },
            )
            .collect();
        let service = service(&elements);
        assert_eq!(
            names(&start_order(&service)),
            "lvm fs clusterfs netfs nfsexport nfsclient ip smb script apache mysql bind-mount"
        );
        assert_eq!(
            names(&stop_order(&service)),
            "bind-mount mysql apache script ip smb nfsclient nfsexport netfs clusterfs fs lvm"
        );
    }

    #[test]
    fn siblings_of_one_type_start_in_document_order_and_stop_in_reverse() {
        let service = service(
            "<script name='s1'/><fs name='f1'/><ip address='i1'/><fs name='f2'/><ip address='i2'/><script name='s2'/>",
        );
        assert_eq!(names(&start_order(&service)), "f1 f2 i1 i2 s1 s2");
        assert_eq!(names(&stop_order(&service)), "s2 s1 i2 i1 f2 f1");
    }

    #[test]
    fn a_subtree_is_up_before_its_next_sibling_and_down_before_its_parent() {
        let service = service(
            "<apache name='a'><ip address='i1'/></apache>\
             <fs name='f'><script name='s'/><nfsexport name='e'><nfsclient name='c1'/><nfsclient name='c2'/></nfsexport><fs name='g'/></fs>\
             <ip address='i2'/>",
        );
        assert_eq!(names(&start_order(&service)), "f g e c1 c2 s i2 a i1");
        assert_eq!(names(&stop_order(&service)), "i1 a i2 s c2 c1 e g f");
    }

    #[test]
    fn levels_depend_on_the_parent() {
        let service = service("<nfsserver name='n'><ip address='i'/><fs name='f'/><nfsclient name='c'/></nfsserver>");
        assert_eq!(names(&start_order(&service)), "n c i f");
        assert_eq!(names(&stop_order(&service)), "f i c n");
    }
}
