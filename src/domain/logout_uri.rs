//! Where a client is told that a user signed out.

use serde::{Deserialize, Serialize};

use super::ids::{IdError, absolute, is_loopback_host};

/// A `backchannel_logout_uri` (OpenID Connect Back-Channel Logout 1.0 section 2.2): https, http on this machine; never a fragment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LogoutUri(String);

impl LogoutUri {
    /// Parses a URI.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let url = absolute(text)?;
        if url.scheme() == "https" || (url.scheme() == "http" && is_loopback_host(&url)) {
            return Ok(Self(text.to_owned()));
        }
        Err(IdError("it must be https (http only on a loopback host)"))
    }

    /// The URI as it was registered.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for LogoutUri {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        Self::parse(&text)
    }
}

impl From<LogoutUri> for String {
    fn from(uri: LogoutUri) -> Self {
        uri.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_client_may_be_told() {
        for good in
            ["https://a.example/out", "https://a.example:8443/?x=1", "http://localhost:8765/out", "http://[::1]/"]
        {
            assert_eq!(LogoutUri::parse(good).map(String::from), Ok(good.to_owned()));
        }
        for (bad, expected) in [
            ("http://a.example/out", "must be https"),
            ("com.example.app:/out", "no host"),
            ("javascript:alert(1)", "no host"),
            ("ftp://a.example/", "must be https"),
            ("/out", "not an absolute URL"),
            ("", "not an absolute URL"),
            ("https://a.example/#x", "fragment"),
            ("https://u:p@a.example/", "user or password"),
            ("https://a.example/\u{e4}", "not ASCII"),
            ("https://a.example/ x", "a space"),
        ] {
            let problem = LogoutUri::parse(bad).map(String::from).unwrap_err().to_string();
            assert!(problem.contains(expected), "{bad}: {problem}");
        }
        assert!(LogoutUri::parse(&format!("https://a.example/{}", "x".repeat(2048))).is_err());
    }
}
