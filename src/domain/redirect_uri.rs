//! Where a client may be answered.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use url::Url;

use super::ids::{IdError, MAX_URL, is_loopback_host};

/// A redirect URI as it was registered, byte for byte: https, http on this machine (RFC 8252 section 7.3, RFC 9700 section 2.6), or a
/// private-use scheme with a dot (RFC 8252 sections 7.1 and 8.4), so none that runs code or opens local content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RedirectUri(String);

impl RedirectUri {
    /// Parses a URI.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if text.len() > MAX_URL || text.bytes().any(|b| !b.is_ascii_graphic() || b == b'\\') {
            return Err(IdError(
                "it is longer than 2048 bytes or contains a space, a control character, a backslash or what is not ASCII",
            ));
        }
        let url = Url::parse(text).map_err(|_| IdError("it is not an absolute URL"))?;
        if text.contains('#') {
            return Err(IdError("it must not have a fragment"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(IdError("it must not carry a user or password"));
        }
        let has_host = url.host_str().is_some_and(|host| !host.is_empty());
        match url.scheme() {
            "https" if has_host => {}
            "http" if has_host && is_loopback_host(&url) => {}
            "https" | "http" => return Err(IdError("it must be https (http only on a loopback host)")),
            scheme if scheme.contains('.') => {}
            _ => {
                return Err(IdError(
                    "it must be https, http on a loopback host, or a private-use scheme that contains a dot (com.example.app:/callback)",
                ));
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The URI as it was registered.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether an answer may go to `given`: the same text (RFC 9700 section 2.1), but for the port of an http URI on a loopback address
    /// (RFC 8252 section 7.3). The port is cut out of the text, so nothing is the same by being normalised.
    ///
    /// `localhost` keeps its port: RFC 8252 section 8.3 advises against it, since a name can be made to resolve elsewhere.
    #[must_use]
    pub fn admits(&self, given: &str) -> bool {
        if self.0 == given {
            return true;
        }
        match (loopback_without_port(&self.0), loopback_without_port(given)) {
            (Some(registered), Some(given)) => registered == given,
            _ => false,
        }
    }
}

/// Address and rest of an http URI on a loopback address.
fn loopback_without_port(text: &str) -> Option<(&str, &str)> {
    let after_scheme = text.strip_prefix("http://")?;
    let (authority, rest) = after_scheme.split_at(after_scheme.find(['/', '?', '#']).unwrap_or(after_scheme.len()));
    let (address, port) = match authority.split_once(']') {
        Some((address, port)) => {
            (address.strip_prefix('[')?, port.strip_prefix(':').or(port.is_empty().then_some("0"))?)
        }
        None => authority.split_once(':').unwrap_or((authority, "0")),
    };
    let is_loopback = if authority.starts_with('[') {
        address.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback())
    } else {
        address.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
    };
    // `parse` alone would take a sign too.
    let is_port = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    (is_loopback && is_port).then_some((address, rest))
}

impl TryFrom<String> for RedirectUri {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).map_err(|problem| format!("{}: {problem}", super::members::quote(&text)))
    }
}

impl From<RedirectUri> for String {
    fn from(uri: RedirectUri) -> Self {
        uri.0
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_client_may_be_answered() {
        for good in [
            "https://app.example/callback?x=1",
            "https://app.example:8443",
            "http://127.0.0.1:8765/callback",
            "http://[::1]/callback",
            "http://localhost:3000/cb",
            "com.example.app:/callback",
        ] {
            assert_eq!(RedirectUri::parse(good).map(String::from).as_deref(), Ok(good));
        }
        let long = format!("com.example:/{}", "a".repeat(MAX_URL));
        for (bad, expected) in [
            ("", "not an absolute URL"),
            ("/callback", "not an absolute URL"),
            ("https://", "not an absolute URL"),
            ("http://app.example/callback", "must be https (http only on a loopback host)"),
            ("http://localhost.app.example/", "must be https (http only on a loopback host)"),
            ("https://app.example/#", "fragment"),
            ("com.example.app:/callback#x", "fragment"),
            ("https://u@app.example/", "user or password"),
            ("myapp://callback", "contains a dot"),
            ("javascript:alert(1)", "contains a dot"),
            ("JavaScript:alert(1)", "contains a dot"),
            ("data:text/html,x", "contains a dot"),
            ("file:///etc/passwd", "contains a dot"),
            ("\tjavascript:alert(1)", "control character"),
            ("https://app.example/a b", "a space"),
            ("https:\\\\app.example", "backslash"),
            ("https://bücher.example/", "not ASCII"),
            (&long, "longer than 2048"),
        ] {
            let problem = RedirectUri::parse(bad).map(|_| "accepted").unwrap_err();
            assert!(problem.0.contains(expected), "{bad}: {problem}");
        }
    }

    #[test]
    fn only_the_port_of_a_loopback_address_may_differ() {
        let web = "https://agent.example/cb";
        let native = "http://127.0.0.1:8765/cb";
        let v6 = "http://[::1]:8765/cb?x=1";
        for (registered, given, expected) in [
            (web, web, true),
            (web, "https://agent.example/cb/", false),
            (web, "https://agent.example:8443/cb", false),
            (web, "https://agent.example:443/cb", false),
            (web, "https://agent.example/cb?x=1", false),
            (web, "https://AGENT.example/cb", false),
            (native, native, true),
            (native, "http://127.0.0.1:1/cb", true),
            (native, "http://127.0.0.1/cb", true),
            ("http://127.0.0.1/cb", native, true),
            (native, "http://127.0.0.1:65536/cb", false),
            (native, "http://127.0.0.1:+1/cb", false),
            (native, "http://127.0.0.1:/cb", false),
            (native, "http://127.0.0.1:1:2/cb", false),
            (native, "http://127.0.0.1:1/other", false),
            (native, "http://127.0.0.1:1/cb#f", false),
            (native, "http://127.0.0.1:1/a/../cb", false),
            (native, "http://127.0.0.1:1/c%62", false),
            (native, "http://127.0.0.1:1/c\tb", false),
            (native, "http://127.0.0.1:1/cb\n", false),
            (native, "http://0x7f.1:1/cb", false),
            (native, "http://127.1:1/cb", false),
            (native, "http://127.0.0.2:1/cb", false),
            (native, "http://u@127.0.0.1:1/cb", false),
            (native, "http://127.0.0.1:1@evil.example/cb", false),
            (native, "HTTP://127.0.0.1:1/cb", false),
            (native, "https://127.0.0.1:1/cb", false),
            (native, "http://localhost:8765/cb", false),
            ("http://localhost:8765/cb", "http://localhost:1/cb", false),
            (v6, "http://[::1]:1/cb?x=1", true),
            (v6, "http://[::1]/cb?x=1", true),
            (v6, "http://[::1]:1/cb", false),
            (v6, "http://[0:0:0:0:0:0:0:1]:1/cb?x=1", false),
            (v6, "http://[::1]1/cb?x=1", false),
            (v6, "http://::1:1/cb?x=1", false),
        ] {
            let uri = RedirectUri::parse(registered).unwrap();
            assert_eq!(uri.admits(given), expected, "{registered} {given}");
        }
    }
}
