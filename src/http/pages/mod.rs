//! The pages that people see, as plain data to fill in and one stylesheet. Nothing here decides anything.
//!
//! Every page works without JavaScript and under
//! `default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'`: no inline
//! style, no script, no font and no picture from elsewhere. An issuer's looks are a name, a colour and a raster, never its own HTML,
//! CSS or SVG. Texts are escaped by the templates, so the fields here
//! hold them as they are. Times and durations come as finished text, with their time zone.

use std::sync::LazyLock;

use askama::Template;

use crate::domain::issuer::Colour;

mod colour;
mod connections;
mod consent;
mod sign_in;

pub use colour::{colour_path, colour_stylesheet};
pub use connections::{
    AgentLines, Connection, Connections, DecisionLine, DeniedLine, Part, PendingTicket, SessionLine, SignInLine, State,
    Stop, TimelineLine,
};
pub use consent::{Consent, ConsentClosed, Disclosed, KnownLine, ModeChoice, Outcome, ScopeChoice};
pub use sign_in::{EndSession, Login, ScopeLine, SignInConsent, SignedOut, WrongAccount};

/// The stylesheet of every page, to be served as `text/css` at [`stylesheet_path`].
pub const STYLESHEET: &str = include_str!("style.css");

/// Where the pages look for [`STYLESHEET`], from the root of the origin. The name changes with the content, so that
/// the answer can be cached for good.
pub fn stylesheet_path() -> &'static str {
    static PATH: LazyLock<String> = LazyLock::new(|| format!("/assets/style-{:08x}.css", fnv1a(STYLESHEET.as_bytes())));
    &PATH
}

/// A 32-bit FNV-1a hash: enough to tell one release's stylesheet from another's, and of no use for secrets.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// An address in the pieces that a line may break between: after a dot or a slash, and nowhere else.
fn breakable(address: &str) -> impl Iterator<Item = &str> {
    address.split_inclusive(['.', '/'])
}

/// Whose pages these are.
#[derive(Clone, Debug)]
pub struct Site {
    /// What the provider calls itself, shown in the bar.
    pub product: String,
    /// What precedes every path of the issuer: empty for the one at the root, `/acme` for a path issuer.
    pub base: String,
    /// The issuer's own logo, as a path on this server; without one there is ours.
    pub logo: Option<String>,
    /// The issuer's own colour.
    pub colour: Option<Colour>,
}

/// Who is signed in, for the bar and for every form of the page.
#[derive(Clone, Debug)]
pub struct Account {
    /// How the user knows the account: its e-mail, else its phone number or name.
    pub name: String,
    /// The session's token against cross-site posts, in each form as `csrf`.
    pub csrf: String,
    /// A path on this server where another account can sign in and come back ("Not you?").
    pub switch_to: String,
}

/// An agent, as a client of this issuer.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Its name, in its own or the operator's words.
    pub name: String,
    /// What the name is worth.
    pub known: Known,
}

impl Agent {
    /// Whether the page has to say that the name is only what the agent calls itself.
    fn names_itself(&self) -> bool {
        !matches!(self.known, Known::Operator(_))
    }
}

/// How an agent is known here, which is shown beside its name and never mixed with it.
#[derive(Clone, Debug)]
pub enum Known {
    /// The host of its Client ID Metadata Document, in ASCII (punycode), with the port unless it is the usual one.
    Host(String),
    /// The operator registered it and vouches for its name, and for its address on the web where it has one.
    Operator(Option<String>),
    /// It registered itself (RFC 7591) and nobody checked its name.
    Unproven,
}

/// A relying service.
#[derive(Clone, Debug)]
pub struct Service {
    /// What it calls itself, if it says so.
    pub name: Option<String>,
    /// The host of its issuer, in ASCII (punycode), with the port unless it is the usual one, and with the path where it has one.
    pub host: String,
}

/// What is shown when nothing else can be: a request that cannot be answered by a redirect, a page that is not there.
#[derive(Clone, Debug, Template)]
#[template(path = "error.html")]
pub struct ErrorPage {
    /// Whose page this is.
    pub site: Site,
    /// What went wrong, in a few words.
    pub title: String,
    /// What it means and what to do, in a sentence or two.
    pub message: String,
    /// What was wrong with the request, in the terms of whoever wrote it; folded away.
    pub technical: Option<String>,
    /// What the operator can find the request by.
    pub request_id: Option<String>,
}

impl ErrorPage {
    /// The page.
    pub fn html(&self) -> String {
        render(self)
    }
}

/// Only a `Display` of a field can fail, and the fields are texts and numbers.
fn render(page: &impl Template) -> String {
    page.render().expect("writing text to a String does not fail")
}

#[cfg(test)]
mod tests;
