//! Whether an address in a document is one that assertions or notices could be sent to.

use serde_json::Value;
use url::{Host, ParseError, Url};

use super::super::ids::{Audience, absolute, is_loopback_host};
use super::super::members::quote;

/// Ends of addresses of pages that are there to be read.
const PAGES: [&str; 5] = [".md", ".html", ".htm", ".txt", ".pdf"];
/// Folders of such pages.
const DOCUMENTATION: [&str; 4] = ["docs", "doc", "documentation", "help"];

/// Judges an endpoint of a service: an absolute https URL (http on a loopback host) at the service's own host or under it.
pub(super) fn usable(value: &Value, service: &Audience) -> Result<String, String> {
    let text = match value {
        Value::String(text) => text,
        Value::Null => return Err("it is null".to_owned()),
        _ => return Err("it is not a text".to_owned()),
    };
    if text.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.contains(['{', '}']) || text.to_ascii_lowercase().contains("%7b") {
        return Err(format!("{} is a template, not an address", quote(text)));
    }
    if let Err(ParseError::RelativeUrlWithoutBase) = Url::parse(text) {
        let what =
            if text.starts_with('/') { "is relative, and an endpoint is an absolute URL" } else { "is not a URL" };
        return Err(format!("{} {what}", quote(text)));
    }
    let url = Url::parse(text).map_err(|_| format!("{} is not a URL", quote(text)))?;
    if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback_host(&url)) {
        return Err(format!("{} is not https", quote(text)));
    }
    absolute(text).map_err(|problem| format!("{}: {problem}", quote(text)))?;
    is_at(&url, service)?;
    if is_page(&url) {
        return Err(format!("{} is a page to read, not an endpoint", quote(text)));
    }
    Ok(text.clone())
}

/// Whether a resource is at the host of a service, or under it.
pub(super) fn is_under(uri: &str, service: &Audience) -> bool {
    Url::parse(uri).is_ok_and(|url| is_at(&url, service).is_ok())
}

/// Whether a URL is at the host of a service, or under it. What metadata say of other hosts counts for nothing until an operator declares it.
fn is_at(url: &Url, service: &Audience) -> Result<(), String> {
    let Ok(own) = Url::parse(service.as_str()) else { return Err("the service has no host".to_owned()) };
    let within = match (url.host(), own.host()) {
        (Some(Host::Domain(there)), Some(Host::Domain(own))) => {
            let (there, own) = (there.trim_end_matches('.'), own.trim_end_matches('.'));
            there == own || there.strip_suffix(own).is_some_and(|sub| sub.ends_with('.'))
        }
        (there, own) => there.is_some() && there == own,
    };
    if within {
        return Ok(());
    }
    let host = |url: &Url| url.host_str().unwrap_or_default().to_owned();
    Err(format!("it is at {}, which is neither {} nor under it", host(url), host(&own)))
}

fn is_page(url: &Url) -> bool {
    let path = url.path().to_ascii_lowercase();
    let folders = || path.split('/').filter(|segment| !segment.is_empty());
    PAGES.iter().any(|end| path.ends_with(end)) || folders().any(|folder| DOCUMENTATION.contains(&folder))
}
