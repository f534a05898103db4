//! A text with places for values, read the other way round: which values make this text? So a sentence that a node
//! finished in English is found in the catalogue again.

/// A text with at least one place.
#[derive(Debug)]
pub(super) struct Pattern {
    /// What stands around the places; one more than places.
    fixed: Vec<String>,
    names: Vec<String>,
}

impl Pattern {
    /// `None`: the text has no place, or nothing but places. Places are named as in format strings: `{name}`, or `{}`,
    /// which are counted from 1.
    pub(super) fn new(text: &str) -> Option<Self> {
        let (mut fixed, mut names) = (Vec::new(), Vec::new());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}')?;
            fixed.push(before.replace('`', "").replace("**", ""));
            names.push(if name.is_empty() { (names.len() + 1).to_string() } else { name.to_owned() });
            rest = after;
        }
        fixed.push(rest.replace('`', "").replace("**", ""));
        let pattern = Self { fixed, names };
        (!pattern.names.is_empty() && pattern.weight() > 0).then_some(pattern)
    }

    /// How many characters must be as they are; the more, the surer.
    pub(super) fn weight(&self) -> usize {
        self.fixed.iter().map(String::len).sum()
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// The values that make `text`; `None` if none do.
    pub(super) fn values<'a>(&self, text: &'a str) -> Option<Vec<&'a str>> {
        let (first, others) = self.fixed.split_first()?;
        let (last, middle) = others.split_last()?;
        let mut rest = text.strip_prefix(first.as_str())?;
        let mut values = Vec::with_capacity(self.names.len());
        for fixed in middle {
            let (value, after) = rest.split_once(fixed.as_str())?;
            values.push(value);
            rest = after;
        }
        values.push(rest.strip_suffix(last.as_str())?);
        values.iter().all(|value| !value.is_empty()).then_some(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_between_what_is_fixed() {
        let pattern = Pattern::new("fenced by {by} with method {method}").unwrap();
        assert_eq!(pattern.values("fenced by node1 with method power"), Some(vec!["node1", "power"]));
        assert_eq!(pattern.values("fenced by node1"), None);
        assert_eq!(pattern.names(), ["by", "method"]);
    }

    #[test]
    fn a_text_of_places_alone_recognises_nothing() {
        assert!(Pattern::new("{}{}").is_none());
        assert!(Pattern::new("no places").is_none());
    }
}
