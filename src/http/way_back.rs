//! Where to go on after signing in: a page of ours, never another site.

use url::Url;

use crate::host::App;

/// The user's front page.
pub(super) const HOME: &str = "/connections";

/// A page of this issuer to go on to, without the issuer's base: never another site (RFC 9700 section 4.11.1).
pub(super) fn way_back(app: &App, to: Option<String>) -> Option<String> {
    to?.strip_prefix(app.issuer.url.base()).filter(|to| is_page(to)).map(str::to_owned)
}

fn is_page(to: &str) -> bool {
    let base = Url::parse("http://here.invalid/").expect("a constant URL parses");
    let path = to.starts_with('/') && !to.starts_with("//") && !to.contains('\\') && !to.contains(char::is_control);
    let known = ["/authorize?", "/consent/", HOME].iter().any(|start| to.starts_with(start));
    path && known && base.join(to).is_ok_and(|url| url.host_str() == Some("here.invalid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_ours() {
        for good in ["/authorize?client_id=x", "/consent/abc", "/connections", "/connections/1/stop"] {
            assert!(is_page(good), "{good}");
        }
        for bad in [
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "/login?to=/login",
            "/consent/\r\nx",
            "",
            "evil",
            "/unknown",
        ] {
            assert!(!is_page(bad), "{bad:?}");
        }
    }
}
