//! Who asks, and the one door for forms: a POST is read only together with its session, and only if it carries the
//! session's form token.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};

use super::error::PageError;
use super::forms::Fields;
use crate::app::{App, Who};
use crate::tokens;

/// Name of the session's cookie. `__Host-`: only this host, only TLS, whole site.
pub const SESSION_COOKIE: &str = "__Host-luci";
/// Ties the login form to the browser before there is a session.
const ENTRY_COOKIE: &str = "__Host-luci-entry";
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

fn address(parts: &Parts) -> String {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map_or_else(|| "local".into(), |info| info.0.ip().to_string())
}

async fn who(parts: &Parts, app: &App) -> Result<Who, PageError> {
    let jar = CookieJar::from_headers(&parts.headers);
    let next = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let Some(token) = jar.get(SESSION_COOKIE) else { return Err(PageError::LoggedOut { next }) };
    let session = tokens::hash(token.value());
    match app.repo.session(&session).await? {
        Some(found) => Ok(Who {
            id: found.user_id,
            name: found.user_name,
            role: found.role,
            address: address(parts),
            csrf: found.csrf,
            session,
        }),
        None => Err(PageError::LoggedOut { next }),
    }
}

impl FromRequestParts<App> for Who {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, PageError> {
        who(parts, app).await
    }
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
        let (parts, body) = request.into_parts();
        let who = who(&parts, app).await?;
        let fields = Fields::read(Request::from_parts(parts, body)).await?;
        if !tokens::same(fields.text(TOKEN_FIELD), &who.csrf) {
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
    pub(super) token: String,
}

impl FromRequest<App> for EntryPosted {
    type Rejection = PageError;

    async fn from_request(request: Request, _app: &App) -> Result<Self, PageError> {
        let (parts, body) = request.into_parts();
        let address = address(&parts);
        let jar = CookieJar::from_headers(&parts.headers);
        let fields = Fields::read(Request::from_parts(parts, body)).await?;
        match jar.get(ENTRY_COOKIE) {
            Some(cookie) if tokens::same(fields.text(TOKEN_FIELD), cookie.value()) => {
                Ok(Self { fields, address, token: cookie.value().to_owned() })
            }
            _ => Err(PageError::WrongToken),
        }
    }
}
