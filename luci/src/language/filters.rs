//! How templates speak: `{{ "Node {n}"|say|with("n", place) }}`. Every module with a template imports this one.

use std::fmt::Display;

use askama::{Result, Values};

use super::{Html, catalogue, plain_told, spoken};

/// A text of the catalogue.
#[askama::filter_fn]
pub fn say<T: AsRef<str>>(english: T, _: &dyn Values) -> Result<Html> {
    Ok(Html::said(english.as_ref()))
}

/// A finished English sentence of a node, of the engine or of the database.
#[askama::filter_fn]
pub fn told<T: AsRef<str>>(english: T, _: &dyn Values) -> Result<Html> {
    Ok(Html::told(english.as_ref()))
}

/// As `told`, without the mark of a foreign language: for attributes and options, which take no tags.
#[askama::filter_fn]
pub fn known<T: AsRef<str>>(english: T, _: &dyn Values) -> Result<String> {
    Ok(plain_told(english.as_ref()))
}

/// The message of a version: only what luci wrote itself is translated.
#[askama::filter_fn]
pub fn message<T: AsRef<str>>(english: T, _: &dyn Values) -> Result<String> {
    Ok(catalogue().message(english.as_ref(), spoken()))
}

/// Fills a place.
#[askama::filter_fn]
pub fn with<T: Display>(html: Html, _: &dyn Values, name: &str, value: T) -> Result<Html> {
    Ok(html.with(name, &value.to_string()))
}

/// Fills a place, strongly.
#[askama::filter_fn]
pub fn strong<T: Display>(html: Html, _: &dyn Values, name: &str, value: T) -> Result<Html> {
    Ok(html.strong(name, &value.to_string()))
}

/// Fills a place with a link: the place `{name}` of the text, the address, and the text of the link.
#[askama::filter_fn]
pub fn link<T: Display>(html: Html, _: &dyn Values, name: &str, address: T, text: Html) -> Result<Html> {
    Ok(html.link(name, &address.to_string(), &text))
}
