//! The two people of the demo: an agent that speaks HTTP, and a user with a browser that has cookies and fills in forms.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use url::Url;

use crate::net::{Method, Net, Request, Response};

/// What went wrong, in a sentence.
pub(super) type Told<T> = Result<T, String>;

/// A plain HTTP client.
#[derive(Clone)]
pub(super) struct Http(pub(super) Net);

/// An answer, read.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
    response: Response,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.response.header(name)
    }

    pub(super) fn json(&self) -> Told<Value> {
        serde_json::from_str(&self.body).map_err(|_| format!("expected JSON, got {} {}", self.status, self.body))
    }
}

impl Http {
    async fn send(
        &self,
        method: Method,
        url: &str,
        headers: Vec<(&'static str, String)>,
        body: String,
    ) -> Told<Answer> {
        let parsed = Url::parse(url).map_err(|e| format!("{url}: {e}"))?;
        let (timeout, max_body) = (Duration::from_secs(10), 256 * 1024);
        let request = Request { method, url: parsed, headers, body: body.into_bytes(), timeout, max_body };
        let mut response = self.0.send(request).await.map_err(|e| format!("{url}: {e}"))?;
        let body = String::from_utf8_lossy(&std::mem::take(&mut response.body)).into_owned();
        Ok(Answer { status: response.status, body, response })
    }

    pub(super) async fn get(&self, url: &str, bearer: Option<&str>) -> Told<Answer> {
        let headers = bearer.map(|token| ("authorization", format!("Bearer {token}"))).into_iter().collect();
        self.send(Method::Get, url, headers, String::new()).await
    }

    pub(super) async fn post_json(&self, url: &str, body: &Value) -> Told<Answer> {
        self.send(Method::Post, url, vec![("content-type", "application/json".into())], body.to_string()).await
    }

    pub(super) async fn post_form(&self, url: &str, basic: (&str, &str), form: &[(&str, &str)]) -> Told<Answer> {
        let credential = STANDARD.encode(format!("{}:{}", basic.0, basic.1));
        let headers = vec![
            ("content-type", "application/x-www-form-urlencoded".into()),
            ("authorization", format!("Basic {credential}")),
        ];
        self.send(Method::Post, url, headers, encode(form)).await
    }
}

/// The user's browser: one site, its cookies, its forms.
pub(super) struct Browser {
    http: Http,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(super) fn new(http: Http) -> Self {
        Self { http, cookies: BTreeMap::new() }
    }

    async fn request(&mut self, method: Method, url: &str, body: String) -> Told<Answer> {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut headers = vec![("cookie", cookies.join("; "))];
        if method == Method::Post {
            headers.push(("content-type", "application/x-www-form-urlencoded".into()));
            headers.push(("sec-fetch-site", "same-origin".into()));
        }
        let answer = self.http.send(method, url, headers, body).await?;
        for line in answer.response.headers.all("set-cookie") {
            if let Some((name, value)) = line.split(';').next().and_then(|pair| pair.split_once('=')) {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(answer)
    }

    /// Opens an address and follows redirects as long as they stay on `site`. Answers with where it ended and what is there; a redirect to
    /// another site is where it ended.
    pub(super) async fn open(&mut self, site: &str, url: &str) -> Told<(String, Answer)> {
        let answer = self.request(Method::Get, url, String::new()).await?;
        self.follow(site, url.to_owned(), answer).await
    }

    /// Posts the form that a page holds: its hidden fields, and what the user put in.
    pub(super) async fn submit(
        &mut self,
        site: &str,
        page: &Answer,
        path: &str,
        typed: &[(&str, &str)],
    ) -> Told<(String, Answer)> {
        let form = page.body.split("<form").find(|form| form.contains(&format!("action=\"{path}\"")));
        let form = form.ok_or_else(|| format!("the page has no form for {path}: {}", page.status))?;
        let hidden = hidden_fields(form);
        let mut fields: Vec<(&str, &str)> =
            hidden.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        fields.extend_from_slice(typed);
        let url = format!("{site}{path}");
        let answer = self.request(Method::Post, &url, encode(&fields)).await?;
        self.follow(site, url, answer).await
    }

    async fn follow(&mut self, site: &str, mut at: String, mut answer: Answer) -> Told<(String, Answer)> {
        for _ in 0..8 {
            let Some(location) = answer.header("location").map(str::to_owned).filter(|_| answer.status == 303) else {
                return Ok((at, answer));
            };
            at = Url::parse(&at)
                .and_then(|base| base.join(&location))
                .map_err(|e| format!("{location}: {e}"))?
                .to_string();
            if !at.starts_with(&format!("{site}/")) {
                return Ok((at, answer));
            }
            answer = self.request(Method::Get, &at, String::new()).await?;
        }
        Err(format!("{at} redirects without end"))
    }
}

fn encode(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// The hidden fields of our own pages, whose markup we know.
fn hidden_fields(form: &str) -> Vec<(String, String)> {
    let form = form.split("</form>").next().unwrap_or_default();
    let attribute = |tag: &str, name: &str| {
        let rest = tag.split_once(&format!(" {name}=\""))?.1;
        Some(unescape(rest.split('"').next()?))
    };
    let tags = form.split("<input").skip(1).map(|tag| tag.split('>').next().unwrap_or_default());
    tags.filter(|tag| tag.contains("type=\"hidden\""))
        .filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value")?)))
        .collect()
}

fn unescape(text: &str) -> String {
    let named = text
        .replace("&#38;", "&")
        .replace("&#60;", "<")
        .replace("&#62;", ">")
        .replace("&#34;", "\"")
        .replace("&#39;", "'");
    named.replace("&amp;", "&")
}
