//! Every sample of cluster.conf comes back byte for byte, and means to us what it means to another XML reader.

use shared::conf::{Document, ElementId};

use crate::samples::{Generator, samples};

#[test]
fn every_sample_prints_back_byte_for_byte() {
    let samples = samples();
    assert!(samples.len() >= 12, "only {} samples", samples.len());
    for (name, text) in samples {
        let (document, findings) = Document::parse(&text);
        assert!(findings.is_empty(), "{name}: {findings:?}");
        assert_eq!(document.print(), text, "{name}");
    }
}

#[test]
fn every_sample_reads_like_another_xml_reader_reads_it() {
    for (name, text) in samples() {
        assert_same_tree(&name, &text);
    }
}

#[test]
fn generated_files_print_back_and_read_alike() {
    let mut sizes = 0;
    for seed in 0..4000 {
        let text = Generator::new(seed).document();
        let (document, findings) = Document::parse(&text);
        assert!(findings.is_empty(), "seed {seed}: {findings:?}\n{text}");
        assert_eq!(document.print(), text, "seed {seed}");
        assert_same_tree(&format!("seed {seed}"), &text);
        sizes += text.len();
    }
    assert!(sizes > 100_000, "the generator made only {sizes} bytes");
}

/// Damaged text may be refused, but never lost, and never accepted when the other reader refuses it.
#[test]
fn damaged_files_are_kept_and_never_accepted_where_another_reader_refuses() {
    let mut refused = 0;
    for seed in 0..4000 {
        let text = Generator::new(seed).damaged();
        let (document, findings) = Document::parse(&text);
        assert_eq!(document.print(), text, "seed {seed}");
        if let Err(error) = roxmltree::Document::parse(&text) {
            assert!(!findings.is_empty(), "seed {seed} should have been refused ({error}):\n{text}");
        }
        refused += usize::from(!findings.is_empty());
    }
    assert!(refused > 100, "only {refused} damaged files were refused");
}

fn assert_same_tree(name: &str, text: &str) {
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..roxmltree::ParsingOptions::default() };
    // The oracle wants prefixes declared; elements that use them are compared by their local names.
    let oracle =
        roxmltree::Document::parse_with_options(text, options).unwrap_or_else(|error| panic!("{name}: {error}"));
    let (document, _) = Document::parse(text);
    assert_same_element(name, &document, document.root().unwrap(), oracle.root_element());
}

fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

fn assert_same_element(sample: &str, document: &Document, ours: ElementId, theirs: roxmltree::Node<'_, '_>) {
    assert_eq!(local(document.name(ours)), theirs.tag_name().name(), "{sample}");
    let our_attributes: Vec<_> = document
        .attributes(ours)
        .iter()
        .filter(|(name, _)| !name.starts_with("xmlns"))
        .map(|(name, value)| (local(name), value.as_str()))
        .collect();
    let their_attributes: Vec<_> = theirs.attributes().map(|attribute| (attribute.name(), attribute.value())).collect();
    assert_eq!(our_attributes, their_attributes, "{sample}");
    let our_children: Vec<_> = document.children(ours).collect();
    let their_children: Vec<_> = theirs.children().filter(roxmltree::Node::is_element).collect();
    assert_eq!(our_children.len(), their_children.len(), "{sample}: children of {}", document.place(ours).path);
    let position = theirs.document().text_pos_at(theirs.range().start);
    let place = document.place(ours);
    // A byte order mark is no column of ours.
    if place.line > 1 {
        assert_eq!((place.line, place.column), (position.row, position.col), "{sample}");
    }
    for (ours, theirs) in our_children.into_iter().zip(their_children) {
        assert_same_element(sample, document, ours, theirs);
    }
}
