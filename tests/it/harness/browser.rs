//! A browser as far as HTTP goes.

use std::collections::BTreeMap;
use std::sync::Mutex;

use avouch::lab::agent;
use serde_json::Value;

use super::World;

use super::encode;

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) async fn read(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, body: response.text().await.unwrap() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {} {}", self.status, self.body))
    }

    /// What a page says, without its tags.
    pub(crate) fn text(&self) -> String {
        let parts = self.body.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text));
        parts.collect()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    pub(crate) fn location(&self) -> String {
        self.header("location").to_owned()
    }
}

/// A browser as far as HTTP goes: cookies, forms, and the headers a real one sends with them.
pub(crate) struct Browser {
    /// Where the issuer is reached.
    pub(super) site: String,
    /// The issuer's path, as it stands in links and forms.
    pub(super) base: String,
    pub(super) origin: String,
    pub(super) http: reqwest::Client,
    pub(super) cookies: Mutex<BTreeMap<String, String>>,
}

impl Browser {
    /// The same browser at another process of the issuer.
    pub(crate) fn at(&self, world: &World) -> Self {
        let cookies = Mutex::new(self.cookies.lock().unwrap().clone());
        Self { cookies, ..world.browser() }
    }

    /// The same browser at another address of this machine.
    pub(crate) fn at_address(&self, last: u8) -> Self {
        let address = std::net::Ipv4Addr::new(127, 0, 0, last);
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
        let http = http.local_address(Some(address.into())).build().unwrap();
        let cookies = Mutex::new(self.cookies.lock().unwrap().clone());
        Self { http, cookies, site: self.site.clone(), base: self.base.clone(), origin: self.origin.clone() }
    }

    /// The one cookie whose name begins so: what follows is the issuer's.
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        Some(self.cookie_pair(name)?.split_once('=')?.1.to_owned())
    }

    /// The same with its name, as it is sent.
    pub(crate) fn cookie_pair(&self, name: &str) -> Option<String> {
        let cookies = self.cookies.lock().unwrap();
        let mut found = cookies.iter().filter(|(full, _)| full.starts_with(&format!("{name}-")));
        let (full, value) = found.next()?;
        assert_eq!(found.next(), None, "one cookie {name}");
        Some(format!("{full}={value}"))
    }

    /// Keeps nothing but what begins so.
    pub(crate) fn forget_all_but(&self, name: &str) {
        self.cookies.lock().unwrap().retain(|full, _| full.starts_with(&format!("{name}-")));
    }

    /// Puts another value in a cookie that it has.
    pub(crate) fn plant(&self, name: &str, value: &str) {
        let mut cookies = self.cookies.lock().unwrap();
        let (_, planted) = cookies.iter_mut().find(|(full, _)| full.starts_with(&format!("{name}-"))).unwrap();
        value.clone_into(planted);
    }

    /// Every cookie, as a request sends them.
    pub(crate) fn cookie_header(&self) -> String {
        self.cookies.lock().unwrap().iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("; ")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.http.get(format!("{}{path}", self.site))).await
    }

    pub(crate) async fn head(&self, path: &str) -> Answer {
        self.send(self.http.head(format!("{}{path}", self.site))).await
    }

    /// Posts fields as a form of our own page would.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let headers = [("origin", self.origin.as_str()), ("sec-fetch-site", "same-origin")];
        self.post_with(path, fields, &headers).await
    }

    pub(crate) async fn post_with(&self, path: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        let mut request = self.http.post(format!("{}{path}", self.site));
        request = request.header("content-type", "application/x-www-form-urlencoded").body(encode(fields));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self.send(request).await;
        // A form that was refused is shown again at an address of its own: as a person, who sees nothing of the redirect.
        match answer.location().split_once("note=") {
            Some((_, _)) if answer.status == 303 && answer.location().starts_with('/') => {
                self.get(answer.location().strip_prefix(&self.base).unwrap_or_default()).await
            }
            _ => answer,
        }
    }

    /// Posts the form of a page: its hidden fields, and what the user adds.
    pub(crate) async fn submit(&self, page: &Answer, path: &str, typed: &[(&str, &str)]) -> Answer {
        let hidden = hidden_fields(&page.body, &format!("{}{path}", self.base));
        let mut fields: Vec<(&str, &str)> = hidden.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        fields.extend_from_slice(typed);
        self.post(path, &fields).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let cookies = self.cookie_header();
        let request = if cookies.is_empty() { request } else { request.header("cookie", cookies) };
        let answer = Answer::read(request.send().await.unwrap()).await;
        for line in answer.headers.get_all("set-cookie") {
            let (name, value) = line.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.lock().unwrap().remove(name);
            } else {
                self.cookies.lock().unwrap().insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }
}

/// The hidden fields of the form that posts to `path`.
pub(crate) fn hidden_fields(html: &str, path: &str) -> Vec<(String, String)> {
    let form = agent::forms(html).into_iter().find(|form| form.action == path);
    let form = form.unwrap_or_else(|| panic!("no form for {path} in {html}"));
    form.fields.into_iter().filter(|field| field.kind == "hidden").map(|field| (field.name, field.value)).collect()
}
