//! The page of the second factor, with a QR code that is drawn here: nothing is fetched from elsewhere.

use askama::Template;
use qrcodegen::{QrCode, QrCodeEcc};

use super::Shell;
use super::manage::FormErrors;
use crate::app::factors::Enrolment;
use crate::language::filters;

/// Light modules around a QR code, without which readers do not find it (ISO/IEC 18004).
const QUIET: i32 = 4;

/// A QR code as the path of an SVG picture.
#[derive(Debug)]
pub struct Picture {
    /// Modules along one side, the quiet zone included.
    pub side: i32,
    pub path: String,
}

impl Picture {
    /// `None` if the text is too long for a QR code, which the secret and a name never are.
    fn of(text: &str) -> Option<Self> {
        let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
        let mut path = String::new();
        for y in 0..code.size() {
            for x in 0..code.size() {
                if code.get_module(x, y) {
                    path.push_str(&format!("M{} {}h1v1h-1z", x + QUIET, y + QUIET));
                }
            }
        }
        Some(Self { side: code.size() + 2 * QUIET, path })
    }
}

/// What an authenticator is given.
#[derive(Debug)]
pub struct Secret {
    /// In groups of four, for typing.
    pub text: String,
    pub address: String,
    pub picture: Option<Picture>,
}

impl From<&Enrolment> for Secret {
    fn from(enrolment: &Enrolment) -> Self {
        let letters: Vec<char> = enrolment.secret.chars().collect();
        let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
        Self { text: groups.join(" "), address: enrolment.address.clone(), picture: Picture::of(&enrolment.address) }
    }
}

/// How far it is.
#[derive(Debug)]
pub enum FactorStep {
    Off,
    /// The authenticator is being told the secret.
    Enrol(Secret),
    /// The recovery codes, shown this once.
    Codes(Vec<String>),
    On {
        since: String,
        codes_left: i64,
    },
}

#[derive(Debug, Template)]
#[template(path = "factor.html")]
pub struct FactorPage {
    pub shell: Shell,
    pub step: FactorStep,
    /// The account must switch it on before it may do anything else.
    pub demanded: bool,
    pub errors: FormErrors,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_the_three_corners_and_a_quiet_zone() {
        let picture = Picture::of("otpauth://totp/luci:admin?secret=ABCDEFGHIJKLMNOPQRSTUVWXYZ234567&issuer=luci");
        let picture = picture.expect("short enough");
        let far = picture.side - QUIET - 1;
        for (x, y) in [(QUIET, QUIET), (far, QUIET), (QUIET, far)] {
            assert!(picture.path.contains(&format!("M{x} {y}h1")), "{x} {y}");
        }
        assert!(!picture.path.contains("M0 ") && !picture.path.contains("M3 "));
    }
}
