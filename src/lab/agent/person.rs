//! The user: signs in, decides what is asked, and stops it again.

use url::Url;

use super::http::Answer;
use super::page::{Link, links};
use super::{Browser, Outcome};

/// Somebody with an account, at their browser.
pub struct Person {
    /// Their browser.
    pub browser: Browser,
    /// Their e-mail.
    pub email: String,
    /// Their password.
    pub password: String,
}

/// An answer to the question whether an agent may tell a service who one is.
#[derive(Clone, Copy, Debug)]
pub enum Decision<'a> {
    /// Yes, in one of the modes that the page offers, for the scopes that it has ticked.
    Allow(&'a str),
    /// No.
    Deny,
}

impl Person {
    /// Opens the authorization request of an agent: signs in if asked, agrees if asked. Answers with where the agent is called back.
    ///
    /// # Errors
    /// Says at which page it ended.
    pub async fn sign_in_to(&self, authorization: &str) -> Outcome<String> {
        let mut page = self.open(authorization).await?;
        if page.status == 200 && page.url.path().ends_with("/authorize") {
            page = self.browser.submit(&page, "/authorize/decision", &[("decision", "allow")]).await?;
        }
        Ok(page.expect(303)?.url.into())
    }

    /// Opens a page of the issuer, by way of the sign-in if it asks for one.
    ///
    /// # Errors
    /// Says what did not answer.
    pub async fn open(&self, url: &str) -> Outcome<Answer> {
        let page = self.browser.open(url).await?;
        if page.status != 200 || !page.url.path().ends_with("/login") {
            return Ok(page);
        }
        let typed = [("email", self.email.as_str()), ("password", self.password.as_str())];
        self.browser.submit(&page, "/login", &typed).await
    }

    /// Answers the question at `consent_uri`.
    ///
    /// # Errors
    /// Says what did not answer as it should.
    pub async fn decide(&self, consent_uri: &str, decision: Decision<'_>) -> Outcome<()> {
        let page = self.open(consent_uri).await?.expect(200)?;
        let action = page.url.path().to_owned();
        let typed = match decision {
            Decision::Allow(mode) => vec![("mode", mode), ("decision", "allow")],
            Decision::Deny => vec![("decision", "deny")],
        };
        self.browser.submit(&page, &action, &typed).await?.expect(200)?;
        Ok(())
    }

    /// Stops what agents may do at a service, given its host, under the issuer's Connections. Answers with the address
    /// that took it.
    ///
    /// # Errors
    /// If there is nothing to stop.
    pub async fn stop(&self, issuer: &str, host: &str) -> Outcome<Url> {
        let page = self.open(&format!("{issuer}/connections")).await?.expect(200)?;
        let stops = |link: &Link| link.href.ends_with("/stop") && link.text.ends_with(&format!(" {host}"));
        let link = links(&page.body)
            .into_iter()
            .find(stops)
            .ok_or_else(|| format!("{} shows nothing to stop at {host}", page.url))?;
        let url = page.url.join(&link.href).map_err(|e| format!("{}: {e}", link.href))?;
        let page = self.open(url.as_str()).await?.expect(200)?;
        self.browser.submit(&page, "/stop", &[]).await?.expect(200)?;
        Ok(page.url)
    }
}
