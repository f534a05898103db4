//! The page that tells an error and offers a way on.

use crate::language::filters;
use askama::Template;

#[derive(Debug, Template)]
#[template(path = "error.html")]
pub struct ErrorPage<'a> {
    pub title: &'a str,
    pub text: &'a str,
    pub next: &'a str,
    pub code: u16,
}
