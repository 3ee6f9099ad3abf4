//! Single values of the configuration. Each function answers with the value or with what is wrong, in words.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use url::Url;

use super::Database;
use crate::domain::ids;
use crate::domain::members::quote;
use crate::domain::time::Seconds;
use crate::secret::Secret;

pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("{} is not an IP address with a port; write it as \"127.0.0.1:4000\" or \"[::1]:4000\"", quote(text))
    })
}

/// The error never quotes the URL: it may hold a password.
pub(super) fn database(url: &Secret) -> Result<Database, String> {
    const SCHEMES: &str = "it must begin with sqlite:// or postgres://";
    let text = url.expose();
    if text.chars().any(char::is_control) {
        return Err("it contains a control character".to_owned());
    }
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return match Url::parse(text) {
            Ok(_) => Ok(Database::Postgres(url.clone())),
            Err(_) => Err("it is not a URL such as postgres://user:password@host:5432/avouch".to_owned()),
        };
    }
    if text.starts_with("sqlite::memory:") || text == "sqlite://:memory:" {
        return Err("a database in memory forgets every withdrawal; name a file: sqlite://data/avouch.db".to_owned());
    }
    let path = text.strip_prefix("sqlite://").ok_or(SCHEMES)?;
    if path.is_empty() || path.ends_with('/') {
        return Err("it names no file; write it as sqlite://data/avouch.db or sqlite:///var/lib/avouch.db".to_owned());
    }
    if path.contains(['?', '#']) {
        return Err("a SQLite URL takes no options here, only a path".to_owned());
    }
    Ok(Database::Sqlite(PathBuf::from(path)))
}

/// A network in CIDR form, or a single address.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(ip));
    }
    let net: IpNet =
        text.parse().map_err(|_| format!("{} is not a network in CIDR form, such as \"10.1.0.0/16\"", quote(text)))?;
    if net.trunc() == net {
        Ok(net)
    } else {
        Err(format!("{} has bits set beyond its prefix; write {}", quote(text), net.trunc()))
    }
}

/// A network that outbound requests may reach: never link-local, where cloud metadata services answer.
pub(super) fn outbound_network(text: &str) -> Result<IpNet, String> {
    let net = network(text)?;
    for never in ["169.254.0.0/16", "fe80::/10", "::ffff:0:0/96"] {
        let never: IpNet = never.parse().expect("the three networks above are written correctly");
        if net.contains(&never) || never.contains(&net) {
            return Err(format!(
                "{} reaches into {never}; link-local and IPv4-mapped addresses are never allowed, name a narrower network",
                quote(text)
            ));
        }
    }
    Ok(net)
}

/// A document about us that other machines fetch or link to.
pub(super) fn public_url(text: &str, http_too: bool) -> Result<(), String> {
    let url = ids::absolute(text).map_err(|problem| format!("{}: {problem}", quote(text)))?;
    match url.scheme() {
        "https" => Ok(()),
        "http" if http_too => Ok(()),
        _ => Err(format!("{} must be https (http only with a loopback issuer)", quote(text))),
    }
}

/// A span of time such as `90s`, `15m`, `1h` or `30d`.
pub(super) fn seconds(text: &str) -> Result<Seconds, String> {
    const LONGEST: i64 = 3650 * 86_400;
    let wrong = || format!("{} is not a duration such as \"90s\", \"15m\", \"1h\" or \"30d\"", quote(text));
    let unit = match text.bytes().last() {
        Some(b's') => 1,
        Some(b'm') => 60,
        Some(b'h') => 3600,
        Some(b'd') => 86_400,
        _ => return Err(wrong()),
    };
    let digits = &text[..text.len() - 1];
    // `parse` alone would take a sign too.
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let count: i64 = digits.parse().map_err(|_| wrong())?;
    match count.checked_mul(unit) {
        Some(seconds @ 1..=LONGEST) => Ok(Seconds(seconds)),
        _ => Err(format!("{} is outside of 1 second to 3650 days", quote(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [("90s", 90), ("15m", 900), ("1h", 3600), ("30d", 2_592_000), ("3650d", 315_360_000)] {
            assert_eq!(seconds(text), Ok(Seconds(expected)));
        }
        for text in [
            "",
            "s",
            "0s",
            "-1s",
            "+1s",
            "1",
            "1w",
            "1.5h",
            "3651d",
            "99999999999999999d",
            "9223372036854775807s",
            "1 h",
            "1é",
        ] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
