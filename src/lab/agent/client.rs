//! The agent's side: OpenID Connect with PKCE, then the exchange of what came of it for assertions.

use std::time::Duration;

use serde_json::Value;

use super::Outcome;
use super::http::{Answer, Http, parse, text};
use crate::domain::client_metadata::TOKEN_EXCHANGE;
use crate::domain::ids::ClientId;
use crate::rng::Rng;
use crate::secret::sha256;

const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// What the agent is at the issuer.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Its `client_id`.
    pub client_id: ClientId,
    /// Its secret.
    pub client_secret: String,
    /// Where it is called back.
    pub redirect_uri: String,
}

/// An agent that knows an issuer from its metadata (RFC 8414).
pub struct Agent {
    http: Http,
    registration: Registration,
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
}

/// A sign-in under way.
pub struct Authorization {
    /// What the user opens.
    pub url: String,
    state: String,
    verifier: String,
}

/// What an assertion is asked for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// For whom it is.
    pub audience: String,
    /// What it is used at.
    pub resource: String,
    /// What for.
    pub scope: String,
    /// What the agent says that it is working on.
    pub context: String,
}

/// What came of asking for an assertion.
#[derive(Debug)]
pub enum Exchanged {
    /// The assertion.
    Assertion(String),
    /// The user has to decide first.
    ConsentRequired {
        /// What to show to the user.
        consent_uri: String,
        /// How long to wait before asking again.
        interval: Duration,
    },
    /// No, with the body that says why.
    Refused(Value),
}

impl Agent {
    /// Reads the metadata of an issuer, whose identifier has to be what the document says (RFC 8414 section 3.3).
    ///
    /// # Errors
    /// Says what is not as it should be.
    pub async fn discover(http: Http, issuer: &str, registration: Registration) -> Outcome<Self> {
        let metadata = http.get(&well_known(issuer)?, None).await?.expect(200)?.json()?;
        if metadata["issuer"] != issuer {
            return Err(format!("the metadata of {issuer} says that its issuer is {}", metadata["issuer"]));
        }
        Ok(Self {
            http,
            registration,
            issuer: issuer.to_owned(),
            authorization_endpoint: text(&metadata, "authorization_endpoint")?,
            token_endpoint: text(&metadata, "token_endpoint")?,
        })
    }

    /// Where it asks for tokens.
    #[must_use]
    pub fn token_endpoint(&self) -> &str {
        &self.token_endpoint
    }

    /// Begins a sign-in (RFC 6749 section 4.1.1, RFC 7636).
    ///
    /// # Errors
    /// If the endpoint of the metadata is not a URL.
    pub fn authorize(&self, scope: &str, rng: &Rng) -> Outcome<Authorization> {
        let (state, verifier) = (rng.token(), rng.token());
        let mut url = parse(&self.authorization_endpoint)?;
        url.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", self.registration.client_id.as_str()),
            ("redirect_uri", &self.registration.redirect_uri),
            ("scope", scope),
            ("state", &state),
            ("code_challenge", &sha256(verifier.as_bytes())),
            ("code_challenge_method", "S256"),
        ]);
        Ok(Authorization { url: url.into(), state, verifier })
    }

    /// Ends a sign-in: checks where the user was sent back to (RFC 9207 among it) and redeems the code. Answers with the token response.
    ///
    /// # Errors
    /// Says what is not as it should be.
    pub async fn tokens(&self, authorization: &Authorization, called_back: &str) -> Outcome<Value> {
        let back = parse(called_back)?;
        let answer = |name: &str| back.query_pairs().find(|(n, _)| n == name).map(|(_, value)| value.into_owned());
        let expected = called_back.split('?').next() == Some(&self.registration.redirect_uri)
            && answer("state").as_deref() == Some(&authorization.state)
            && answer("iss").as_deref() == Some(&self.issuer);
        let code =
            answer("code").filter(|_| expected).ok_or_else(|| format!("the sign-in came back to {called_back}"))?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", &self.registration.redirect_uri),
            ("code_verifier", &authorization.verifier),
        ];
        self.post(&form).await?.expect(200)?.json()
    }

    /// Asks for an assertion with an access token.
    ///
    /// # Errors
    /// If what comes is no answer that a token endpoint gives.
    pub async fn exchange(&self, access_token: &str, ask: &Ask) -> Outcome<Exchanged> {
        let form = [
            ("grant_type", TOKEN_EXCHANGE),
            ("requested_token_type", ID_JAG),
            ("audience", &ask.audience),
            ("resource", &ask.resource),
            ("scope", &ask.scope),
            ("subject_token", access_token),
            ("subject_token_type", ACCESS_TOKEN),
            ("agent_context_id", &ask.context),
        ];
        let answer = self.post(&form).await?;
        let body = answer.json()?;
        if answer.status == 200 {
            return Ok(Exchanged::Assertion(text(&body, "access_token")?));
        }
        if body["error"] == "consent_required" || body["error"] == "slow_down" {
            let interval = Duration::from_secs(body["interval"].as_u64().ok_or("interval is missing")?);
            return Ok(Exchanged::ConsentRequired { consent_uri: text(&body, "consent_uri")?, interval });
        }
        Ok(Exchanged::Refused(body))
    }

    /// Asks again, no faster than it may, until the user has decided. Answers with the assertion.
    ///
    /// # Errors
    /// If the user does not agree.
    pub async fn assertion(&self, access_token: &str, ask: &Ask) -> Outcome<String> {
        loop {
            match self.exchange(access_token, ask).await? {
                Exchanged::Assertion(assertion) => return Ok(assertion),
                Exchanged::ConsentRequired { interval, .. } => tokio::time::sleep(interval).await,
                Exchanged::Refused(body) => return Err(format!("{} refuses: {body}", self.token_endpoint)),
            }
        }
    }

    async fn post(&self, form: &[(&str, &str)]) -> Outcome<Answer> {
        let credential = (self.registration.client_id.as_str(), self.registration.client_secret.as_str());
        self.http.post_as(&self.token_endpoint, credential, form).await
    }
}

/// Where the metadata of an issuer is (RFC 8414 section 3.1): the well-known part goes between host and path.
fn well_known(issuer: &str) -> Outcome<String> {
    let mut url = parse(issuer)?;
    let path = format!("/.well-known/oauth-authorization-server{}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_of_a_path_issuer_has_the_path_last() {
        for (issuer, url) in [
            ("http://localhost:4000", "http://localhost:4000/.well-known/oauth-authorization-server"),
            ("https://id.example/acme", "https://id.example/.well-known/oauth-authorization-server/acme"),
        ] {
            assert_eq!(well_known(issuer).as_deref(), Ok(url));
        }
    }
}
