//! Samples of cluster.conf for the tests of this crate: the files of `tests/fixtures/conf`, and a generator of files with
//! every freedom that XML leaves. The generator's chance comes from its seed.

use std::path::Path;

/// Name and text of every sample file, by name.
pub(crate) fn samples() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/conf");
    let mut found: Vec<(String, String)> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).unwrap())
        })
        .collect();
    found.sort();
    found
}

/// The text of one sample file.
pub(crate) fn sample(name: &str) -> String {
    samples().into_iter().find(|(found, _)| found == name).unwrap_or_else(|| panic!("no sample {name}")).1
}

pub(crate) struct Generator {
    state: u64,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d }
    }

    /// A number below `bound` (xorshift64*).
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let mixed = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(mixed).unwrap() % bound
    }

    pub(crate) fn pick<'a>(&mut self, among: &[&'a str]) -> &'a str {
        among[self.below(among.len())]
    }

    /// A well-formed file.
    pub(crate) fn document(&mut self) -> String {
        let mut out = String::new();
        if self.below(8) == 0 {
            out.push('\u{feff}');
        }
        if self.below(2) == 0 {
            out.push_str(self.pick(&["<?xml version=\"1.0\"?>", "<?xml version='1.0' encoding='UTF-8' ?>"]));
        }
        self.misc(&mut out);
        self.element(&mut out, "cluster", 0);
        self.misc(&mut out);
        out
    }

    /// The same with a few bytes lost, doubled or replaced.
    pub(crate) fn damaged(&mut self) -> String {
        let mut text: Vec<char> = self.document().chars().collect();
        for _ in 0..=self.below(3) {
            if text.is_empty() {
                break;
            }
            let at = self.below(text.len());
            match self.below(4) {
                0 => drop(text.remove(at)),
                1 => text.insert(at, self.pick(&["<", ">", "&", "\"", "'", "=", "/", "]]>"]).chars().next().unwrap()),
                2 => text.truncate(at.max(1)),
                _ => text[at] = self.pick(&["<", ">", "&", "\"", "x", " ", "\u{1}"]).chars().next().unwrap(),
            }
        }
        text.into_iter().collect()
    }

    fn misc(&mut self, out: &mut String) {
        for _ in 0..self.below(3) {
            out.push_str(self.pick(&["\n", "  ", "<!-- a - comment -->", "<?pi some <thing> ?>", "\r\n", "\t"]));
        }
    }

    fn space(&mut self) -> &'static str {
        self.pick(&[" ", " ", " ", "  ", "\n    ", "\t", "\r\n\t"])
    }

    fn element(&mut self, out: &mut String, name: &str, depth: usize) {
        out.push('<');
        out.push_str(name);
        for index in 0..self.below(5) {
            out.push_str(self.space());
            out.push_str(self.pick(&["name", "ref", "config_version", "ümlaut", "a.b-c", "_x"]));
            out.push_str(&index.to_string());
            out.push_str(self.pick(&["=", "=", " = ", "\n="]));
            let quote = self.pick(&["\"", "'"]);
            out.push_str(quote);
            for _ in 0..self.below(4) {
                let other = if quote == "\"" { "'" } else { "\"" };
                let piece = self.pick(&[
                    "a", "web 1", "&amp;", "&lt;", "&#x4e2d;", "&#10;", "中文", ">", "/", "\n", "\t", "&quot;", other,
                ]);
                out.push_str(piece);
            }
            out.push_str(quote);
        }
        if self.below(4) == 0 {
            out.push_str(self.space());
        }
        if depth > 5 || self.below(3) == 0 {
            out.push_str("/>");
            return;
        }
        out.push('>');
        for _ in 0..self.below(6) {
            match self.below(7) {
                0 => out.push_str("<!-- c -->"),
                1 => out.push_str("<![CDATA[ <x> & ]] > ]]>"),
                2 => out.push_str(self.pick(&["text &gt; &#65; ", "\n  ", "\r\n", "ü"])),
                _ => {
                    let child = self.pick(&["rm", "service", "fs", "vendor-thing", "clusternodes"]);
                    self.element(out, child, depth + 1);
                }
            }
        }
        out.push_str("</");
        out.push_str(name);
        out.push_str(self.pick(&["", "", " "]));
        out.push('>');
    }
}
