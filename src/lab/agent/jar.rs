//! Cookies as a browser keeps them (RFC 6265 section 5), less what our issuers never use: `Domain`, and expiry by the clock.

use url::Url;

/// The cookies of one browser. They know no ports, so two servers on one host share them.
#[derive(Debug, Default)]
pub struct Jar(Vec<Cookie>);

#[derive(Debug)]
struct Cookie {
    name: String,
    value: String,
    host: String,
    path: String,
    secure: bool,
}

impl Jar {
    /// Keeps or drops what a `Set-Cookie` field says, which came with an answer from `url`.
    pub fn store(&mut self, url: &Url, field: &str) {
        let mut parts = field.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { return };
        let attributes: Vec<(&str, &str)> = parts.map(|part| part.split_once('=').unwrap_or((part, ""))).collect();
        let attribute =
            |name: &str| attributes.iter().rev().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| *v);
        let cookie = Cookie {
            name: name.trim().to_owned(),
            value: value.trim().to_owned(),
            host: url.host_str().unwrap_or_default().to_owned(),
            path: attribute("path")
                .filter(|path| path.starts_with('/'))
                .unwrap_or_else(|| folder(url.path()))
                .to_owned(),
            secure: attribute("secure").is_some(),
        };
        self.0.retain(|c| (&c.name, &c.host, &c.path) != (&cookie.name, &cookie.host, &cookie.path));
        let gone = attribute("max-age").and_then(|age| age.parse::<i64>().ok()).is_some_and(|age| age <= 0);
        if !gone {
            self.0.push(cookie);
        }
    }

    /// The `Cookie` field of a request to `url`; the longest paths come first.
    #[must_use]
    pub fn header(&self, url: &Url) -> Option<String> {
        let mut cookies: Vec<&Cookie> = self.0.iter().filter(|cookie| cookie.goes_to(url)).collect();
        cookies.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs: Vec<String> = cookies.iter().map(|c| format!("{}={}", c.name, c.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

impl Cookie {
    fn goes_to(&self, url: &Url) -> bool {
        let below = url.path().strip_prefix(&self.path);
        self.host == url.host_str().unwrap_or_default()
            && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || self.path.ends_with('/'))
            && (!self.secure || url.scheme() == "https")
    }
}

/// The default path of a cookie (RFC 6265 section 5.1.4).
fn folder(path: &str) -> &str {
    path.rfind('/').filter(|end| *end > 0).map_or("/", |end| &path[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_go_where_they_came_from() {
        let at = |url: &str| Url::parse(url).unwrap();
        let mut jar = Jar::default();
        jar.store(&at("http://localhost:4000/login"), "session=root; Path=/; HttpOnly");
        jar.store(&at("http://localhost:4000/acme/login"), "session=acme; Path=/acme; HttpOnly; SameSite=Lax");
        jar.store(&at("http://localhost:4000/acme/deep/page"), "here=1");
        jar.store(&at("https://id.example/"), "safe=1; Path=/; Secure");
        for (url, cookies) in [
            ("http://localhost:4000/", Some("session=root")),
            ("http://localhost:5000/login", Some("session=root")),
            ("http://localhost:4000/acme", Some("session=acme; session=root")),
            ("http://localhost:4000/acme/login", Some("session=acme; session=root")),
            ("http://localhost:4000/acme/deep", Some("here=1; session=acme; session=root")),
            ("http://localhost:4000/acmeother", Some("session=root")),
            ("http://127.0.0.1:4000/", None),
            ("https://id.example/x", Some("safe=1")),
            ("http://id.example/x", None),
        ] {
            assert_eq!(jar.header(&at(url)).as_deref(), cookies, "{url}");
        }
        jar.store(&at("http://localhost:4000/acme/logout"), "session=; Path=/acme; Max-Age=0");
        jar.store(&at("http://localhost:4000/"), "session=again; Path=/; Max-Age=60");
        assert_eq!(jar.header(&at("http://localhost:4000/acme")).as_deref(), Some("session=again"));
    }
}
