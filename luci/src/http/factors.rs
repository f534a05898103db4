//! The second factor: the page of the own one, with the secret as text and as a QR code, and the administrators' way to take one away.

use axum::extract::{Path, State};

use super::error::PageError;
use super::pages::{Page, draw, draw_refused, form_errors, go, part, shell};
use super::session::Posted;
use super::users::users_page;
use crate::app::factors::Enrolment;
use crate::app::{App, AppError, Who};
use crate::repo::users::Role;
use crate::views::SidePanel;
use crate::views::factors::{FactorPage, FactorStep};
use crate::views::manage::FormErrors;

const HERE: &str = "/account/second-factor";

async fn factor_page(app: &App, who: Who, step: FactorStep, errors: FormErrors) -> Result<FactorPage, PageError> {
    let step = match step {
        FactorStep::Off => match app.repo.factor(who.id).await? {
            Some(factor) => FactorStep::On {
                since: crate::views::time(factor.totp_since),
                codes_left: app.repo.recovery_codes_left(who.id).await?,
            },
            None => FactorStep::Off,
        },
        step => step,
    };
    let demanded = matches!(step, FactorStep::Off | FactorStep::Enrol(_)) && app.lacks_factor(&who).await?;
    let mut shell = shell(app, who, "Second factor", "account").await?;
    if demanded {
        // Who has given half of the proof sees nothing of the clusters, not even in the menu.
        shell.side = SidePanel { closed: true, ..SidePanel::default() };
        shell.live = None;
    }
    Ok(FactorPage { shell, step, demanded, errors })
}

fn enrolment(enrolment: &Enrolment) -> FactorStep {
    FactorStep::Enrol(enrolment.into())
}

pub(super) async fn factor(State(app): State<App>, who: Who) -> Page {
    draw(&factor_page(&app, who, FactorStep::Off, FormErrors::default()).await?)
}

/// Answers with the page itself, not with a redirect: the secret is shown here and never again.
pub(super) async fn begin(State(app): State<App>, Posted { who, fields }: Posted) -> Page {
    match app.begin_factor(&who, fields.raw("factor-password").to_owned()).await {
        Ok(begun) => draw(&factor_page(&app, who, enrolment(&begun), FormErrors::default()).await?),
        Err(error) => draw_refused(&factor_page(&app, who, FactorStep::Off, form_errors(error)?).await?),
    }
}

pub(super) async fn confirm(State(app): State<App>, Posted { who, fields }: Posted) -> Page {
    match app.confirm_factor(&who, fields.text("code")).await {
        Ok(codes) => draw(&factor_page(&app, who, FactorStep::Codes(codes), FormErrors::default()).await?),
        Err(error) => {
            let step = app.pending_factor(&who).map_or(FactorStep::Off, |begun| enrolment(&begun));
            draw_refused(&factor_page(&app, who, step, form_errors(error)?).await?)
        }
    }
}

pub(super) async fn remove(State(app): State<App>, Posted { who, fields }: Posted) -> Page {
    let password = fields.raw("factor-password").to_owned();
    match app.remove_own_factor(&who, password, fields.text("code")).await {
        Ok(()) => go(&app, &who, HERE, "ok", "the second factor is taken away").await,
        Err(error) => draw_refused(&factor_page(&app, who, FactorStep::Off, form_errors(error)?).await?),
    }
}

/// Of whom a second factor is demanded.
pub(super) async fn demand(State(app): State<App>, Posted { who, fields }: Posted) -> Page {
    let from = fields.text("from");
    let role = Role::parse(from);
    if role.is_none() && !from.is_empty() {
        return Err(AppError::field("from", "choose one of the roles, or nobody").into());
    }
    match app.demand_factor(&who, role).await {
        Ok(()) => go(&app, &who, "/users", "ok", "it is settled of whom a second factor is demanded").await,
        Err(error) => draw_refused(&users_page(&app, who, String::new(), form_errors(error)?).await?),
    }
}

/// Of another account.
pub(super) async fn remove_of(State(app): State<App>, Path(name): Path<String>, Posted { who, .. }: Posted) -> Page {
    app.remove_factor(&who, &name).await?;
    let text = format!("the second factor of {name} is taken away, and its sessions have ended");
    go(&app, &who, &format!("/users/{}", part(&name)), "ok", text).await
}
