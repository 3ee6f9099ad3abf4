//! Notices: what tells a service that a delegation is over.

use serde::{Deserialize, Serialize};

/// What a notice looks like on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// A signed logout token, posted raw (auth.md v0.1, "Revocation").
    #[serde(rename = "logout+jwt")]
    LogoutJwt,
}

impl Format {
    /// The stored and published word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LogoutJwt => "logout+jwt",
        }
    }
}
