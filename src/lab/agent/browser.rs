//! A browser as far as HTTP goes: cookies, forms, redirects, and the headers a real one sends with them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use url::Url;

use super::http::{Answer, Http, encode, form_type, parse};
use super::page::{Form, forms};
use super::{Jar, Outcome};
use crate::net::Method;

/// Redirects that are followed before it is a loop.
const MAX_REDIRECTS: usize = 8;

/// A browser, for as many sites as one likes.
pub struct Browser {
    http: Http,
    jar: Mutex<Jar>,
}

impl Browser {
    /// A browser that has been nowhere.
    pub fn new(http: Http) -> Self {
        Self { http, jar: Mutex::default() }
    }

    /// Goes to `url` and follows redirects within its site. A redirect to another site is where it ends: `url` says which, and nothing was
    /// sent there.
    ///
    /// # Errors
    /// If something does not answer.
    pub async fn open(&self, url: &str) -> Outcome<Answer> {
        let url = parse(url)?;
        let answer = self.send(Method::Get, url, Vec::new(), String::new()).await?;
        self.follow(answer).await
    }

    /// Posts the form of a page whose action ends with `action`, with what the user has put in.
    ///
    /// # Errors
    /// If the page has no such form, or something does not answer.
    pub async fn submit(&self, page: &Answer, action: &str, typed: &[(&str, &str)]) -> Outcome<Answer> {
        let form = find_form(page, action)?;
        let url = page.url.join(&form.action).map_err(|e| format!("{}: {e}", form.action))?;
        let origin = page.url.origin();
        let site = if origin == url.origin() { "same-origin" } else { "cross-site" };
        let headers = vec![form_type(), ("origin", origin.ascii_serialization()), ("sec-fetch-site", site.into())];
        let answer = self.send(Method::Post, url, headers, encode(&form.filled(typed))).await?;
        self.follow(answer).await
    }

    async fn follow(&self, mut answer: Answer) -> Outcome<Answer> {
        for _ in 0..MAX_REDIRECTS {
            let Some(location) = answer.headers.get("location").filter(|_| answer.status == 303) else {
                return Ok(answer);
            };
            let next = answer.url.join(location).map_err(|e| format!("{location:?} is not a URL: {e}"))?;
            if next.origin() != answer.url.origin() {
                answer.url = next;
                return Ok(answer);
            }
            answer = self.send(Method::Get, next, Vec::new(), String::new()).await?;
        }
        Err(format!("{} redirects without end", answer.url))
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        mut headers: Vec<(&'static str, String)>,
        body: String,
    ) -> Outcome<Answer> {
        headers.extend(self.jar().header(&url).map(|cookies| ("cookie", cookies)));
        let answer = self.http.send(method, url, headers, body).await?;
        for field in answer.headers.all("set-cookie") {
            self.jar().store(&answer.url, field);
        }
        Ok(answer)
    }

    fn jar(&self) -> MutexGuard<'_, Jar> {
        self.jar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The form of a page whose action ends with `action`.
fn find_form(page: &Answer, action: &str) -> Outcome<Form> {
    let form = forms(&page.body).into_iter().find(|form| form.action.ends_with(action));
    form.ok_or_else(|| format!("{} has no form for {action}: {page}", page.url))
}
