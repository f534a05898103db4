//! Which known name somebody may have meant by an unknown one. Used by the commands to name the closest match when
//! they refuse; never used to act on a name that was not typed.

use shared::ids::ServiceName;

/// What a name comes closest to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closest<'a> {
    One(&'a str),
    None,
    Several,
}

/// Names that begin with `typed` come first (`node1` for `node1.example.com`); failing that, names that differ by a
/// slip of the finger.
pub fn closest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Closest<'a> {
    let known: Vec<&str> = known.into_iter().collect();
    let beginnings: Vec<&str> =
        known.iter().copied().filter(|name| !typed.is_empty() && name.starts_with(typed)).collect();
    match beginnings[..] {
        [one] => return Closest::One(one),
        [] => {}
        _ => return Closest::Several,
    }
    let slips_allowed = typed.chars().count() / 3;
    let mut slips: Vec<(usize, &str)> = known
        .into_iter()
        .map(|name| (distance(typed, name), name))
        .filter(|(distance, _)| *distance <= slips_allowed.min(3))
        .collect();
    slips.sort_unstable();
    match slips[..] {
        [] => Closest::None,
        [(_, one)] => Closest::One(one),
        [(first, one), (second, _), ..] if first < second => Closest::One(one),
        _ => Closest::Several,
    }
}

/// The service that may have been meant: one of the same name but another kind (`vm:mail` for `service:mail`, which is
/// what `mail` alone means), else the closest.
pub fn closest_service<'a>(
    typed: &ServiceName,
    known: impl Iterator<Item = &'a ServiceName> + Clone,
) -> Option<&'a str> {
    let same_bare = known.clone().find(|name| name.bare() == typed.bare());
    same_bare.map(ServiceName::as_str).or_else(|| match closest(typed.as_str(), known.map(ServiceName::as_str)) {
        Closest::One(one) => Some(one),
        Closest::None | Closest::Several => None,
    })
}

/// Letters to insert, drop, change or swap with their neighbour to turn one text into the other.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let changed = usize::from(left[i - 1] != right[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + changed);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 3] = ["node1.example.com", "node2.example.com", "storage"];

    #[test]
    fn a_short_host_name_finds_its_full_name() {
        assert_eq!(closest("node1", KNOWN), Closest::One("node1.example.com"));
    }

    #[test]
    fn a_slip_of_the_finger_finds_the_name_meant() {
        assert_eq!(closest("stroage", KNOWN), Closest::One("storage"));
        assert_eq!(closest("storag3", KNOWN), Closest::One("storage"));
    }

    #[test]
    fn a_guest_is_found_by_its_bare_name() {
        let known = [ServiceName::parse("mailhub"), ServiceName::parse("vm:mail")];
        assert_eq!(closest_service(&ServiceName::parse("mail"), known.iter()), Some("vm:mail"));
        assert_eq!(closest_service(&ServiceName::parse("mailhbu"), known.iter()), Some("service:mailhub"));
        assert_eq!(closest_service(&ServiceName::parse("web"), known.iter()), None);
    }

    #[test]
    fn two_names_alike_are_not_guessed_between_and_a_foreign_one_finds_nothing() {
        assert_eq!(closest("node", KNOWN), Closest::Several);
        assert_eq!(closest("mailhub", KNOWN), Closest::None);
        assert_eq!(closest("", KNOWN), Closest::None);
    }
}
