//! Cookies, and forms: a form is read only together with the session that the door found, and only if it carries that
//! session's form token.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};

use super::door::{address, browser};
use super::error::PageError;
use super::forms::Fields;
use crate::app::{App, Who};
use crate::tokens;

/// Name of the session's cookie. `__Host-`: only this host, only TLS, whole site.
pub const SESSION_COOKIE: &str = "__Host-luci";
/// Ties the login form to the browser before there is a session.
const ENTRY_COOKIE: &str = "__Host-luci-entry";
/// A login whose password was right and whose code is missing.
pub(super) const STEP_COOKIE: &str = "__Host-luci-step";
/// Name of the form token's field.
pub(super) const TOKEN_FIELD: &str = "csrf";

/// A cookie that scripts cannot read and other sites cannot send.
pub(super) fn cookie(name: &'static str, value: String) -> Cookie<'static> {
    Cookie::build((name, value)).path("/").secure(true).http_only(true).same_site(SameSite::Strict).build()
}

/// Takes a cookie back.
pub(super) fn gone(name: &'static str) -> Cookie<'static> {
    let mut cookie = cookie(name, String::new());
    cookie.make_removal();
    cookie
}

/// A form that was sent from one of luci's own pages in this session.
#[derive(Debug)]
pub struct Posted {
    pub who: Who,
    pub fields: Fields,
}

impl FromRequest<App> for Posted {
    type Rejection = PageError;

    async fn from_request(request: Request, app: &App) -> Result<Self, PageError> {
        let (mut parts, body) = request.into_parts();
        let who = Who::from_request_parts(&mut parts, app).await?;
        let fields = Fields::read(Request::from_parts(parts, body)).await?;
        if who.csrf().is_empty() || !tokens::same(fields.text(TOKEN_FIELD), who.csrf()) {
            tracing::warn!(user = who.name, address = who.address, "a form with a wrong token was refused");
            return Err(PageError::WrongToken);
        }
        Ok(Self { who, fields })
    }
}

/// The state of a browser that has not logged in: ties its form to a cookie.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) token: String,
    pub(super) jar: CookieJar,
}

impl FromRequestParts<App> for Entry {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Self::Rejection> {
        let jar = CookieJar::from_headers(&parts.headers);
        let token = jar.get(ENTRY_COOKIE).map_or_else(tokens::random, |cookie| cookie.value().to_owned());
        let jar = CookieJar::new().add(cookie(ENTRY_COOKIE, token.clone()));
        Ok(Self { token, jar })
    }
}

/// A form of a browser that has not logged in.
#[derive(Debug)]
pub(super) struct EntryPosted {
    pub(super) fields: Fields,
    pub(super) address: String,
    /// What the browser calls itself.
    pub(super) browser: String,
    pub(super) token: String,
}

impl FromRequest<App> for EntryPosted {
    type Rejection = PageError;

    async fn from_request(request: Request, _app: &App) -> Result<Self, PageError> {
        let (parts, body) = request.into_parts();
        let address = address(&parts);
        let browser = browser(&parts).to_owned();
        let jar = CookieJar::from_headers(&parts.headers);
        let fields = Fields::read(Request::from_parts(parts, body)).await?;
        match jar.get(ENTRY_COOKIE) {
            Some(cookie) if tokens::same(fields.text(TOKEN_FIELD), cookie.value()) => {
                Ok(Self { fields, address, browser, token: cookie.value().to_owned() })
            }
            _ => Err(PageError::WrongToken),
        }
    }
}
