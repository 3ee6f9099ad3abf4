//! Pages that a lab writes into files, for people who show them to each other: one stylesheet, one frame. A page is a single file that fetches
//! nothing and runs nothing, and says so to the browser.

use crate::secret::sha256;

/// In the file itself.
const STYLE: &str = include_str!("pages/report.css");

/// What is around every page: a template extends `frame.html` and has this as `frame`.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Of the window.
    pub title: String,
    /// What the page is, beside the mark.
    pub what: &'static str,
    /// Of which Avouch.
    pub avouch: String,
    /// When what it tells of began, for people.
    pub began: String,
}

impl Frame {
    /// The stylesheet, byte for byte as the policy has it.
    #[must_use]
    pub fn style(&self) -> &'static str {
        STYLE
    }

    /// Nothing but this stylesheet; the icon that there is none of is in the page.
    #[must_use]
    pub fn policy(&self) -> String {
        // CSP wants the other alphabet of base64, with padding.
        let hash = sha256(STYLE.as_bytes()).replace('-', "+").replace('_', "/");
        format!("default-src 'none'; style-src 'sha256-{hash}='; img-src data:; base-uri 'none'; form-action 'none'")
    }
}
