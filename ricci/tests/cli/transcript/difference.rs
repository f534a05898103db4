//! Which lines of a file a command changed.

/// `- old` and `+ new`, in the order of the file; nothing if both are the same.
pub(crate) fn lines(name: &str, old: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    // Length of the longest common tail from each pair of places on.
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for left in (0..old.len()).rev() {
        for right in (0..new.len()).rev() {
            common[left][right] = if old[left] == new[right] {
                common[left + 1][right + 1] + 1
            } else {
                common[left + 1][right].max(common[left][right + 1])
            };
        }
    }
    let mut out = format!("@ {name}\n");
    let (mut left, mut right) = (0, 0);
    while left < old.len() || right < new.len() {
        if left < old.len() && right < new.len() && old[left] == new[right] {
            (left, right) = (left + 1, right + 1);
        } else if left < old.len() && (right == new.len() || common[left + 1][right] >= common[left][right + 1]) {
            out.push_str(&format!("- {}\n", old[left]));
            left += 1;
        } else {
            out.push_str(&format!("+ {}\n", new[right]));
            right += 1;
        }
    }
    out
}
