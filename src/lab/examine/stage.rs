//! Who plays: the issuer that the service trusts, one that it does not, a forger; and how what they make is presented.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use url::Url;

use super::found::Evidence;
use super::hear::{At, Heard, credential, hear, own_assertion};
use super::talk::{Call, Said, Talk};
use super::target::Target;
use crate::clock::Clock;
use crate::domain::claims::ID_JAG;
use crate::domain::ids::IssuerUrl;
use crate::domain::rotation::SigningAlg;
use crate::domain::time::Seconds;
use crate::jose::{JoseError, LabKey};
use crate::lab::flaws::{Cast, Dialect, Document, Draft, Kind, Others, Presented, Terms};
use crate::lab::hosted::{CIMD, Hosted, JWKS, client_document, path_of};
use crate::lab::issuer::LabIssuer;
use crate::net::Method;
use crate::rng::Rng;
use crate::secret::Secret;

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const CLIENT_ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const ID_JAG_TYPE: &str = "urn:ietf:params:oauth:token-type:id-jag";
const FORM: &str = "application/x-www-form-urlencoded";

/// A user.
#[derive(Clone, Debug)]
pub struct User {
    /// Who they are at the issuer.
    pub sub: String,
    /// Their address; verified.
    pub email: Option<String>,
}

/// A client that the service knows.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its `client_id`.
    pub id: String,
    /// Its secret; a public client has none.
    pub secret: Option<Secret>,
}

/// Everybody, and everything that they say.
pub(in crate::lab) struct Stage {
    /// The parts.
    pub(in crate::lab) cast: Cast,
    /// Who publishes.
    pub(in crate::lab) hosted: Hosted,
    /// Who is examined.
    pub(in crate::lab) target: Target,
    /// How it is talked to.
    pub(in crate::lab) talk: std::sync::Arc<Talk>,
    /// About whom.
    pub(in crate::lab) user: User,
    /// By whom it is presented, where clients are registered.
    pub(in crate::lab) client: Option<Client>,
    /// The time.
    pub(in crate::lab) clock: Clock,
    /// Where names come from that were never used.
    pub(in crate::lab) rng: Rng,
}

/// What lets a user in.
#[derive(Clone)]
pub(in crate::lab) struct Credential {
    /// What the API takes.
    pub(in crate::lab) bearer: String,
    /// What gets another one at the token endpoint.
    pub(in crate::lab) own: Option<String>,
}

/// Where the forger is, below the issuer's origin.
const FORGER: &str = "/forger";

/// Parts of a lab at one issuer: beside it one that nobody trusts, and a forger.
///
/// # Errors
/// When a key cannot be made, or the issuer leaves no room for others.
pub(in crate::lab) fn cast(issuer: IssuerUrl, key: LabKey, clock: &Clock, rng: &Rng) -> Result<Cast, JoseError> {
    const UNFIT: JoseError = JoseError("the issuer's address leaves no room for others beside it");
    // Beside it and not below it, unless it is at the root: whoever compares beginnings shall be told so by the check for that.
    let parent = issuer.as_str().rsplit_once('/').map_or("", |(parent, _)| parent);
    let parent = if path_of(&issuer).is_empty() { issuer.as_str() } else { parent };
    let untrusted = IssuerUrl::parse(&format!("{}/untrusted", parent.trim_end_matches('/'))).map_err(|_| UNFIT)?;
    let untrusted = LabIssuer::new(untrusted, key.derive("untrusted")?)?;
    let others = Others {
        url: format!("{}{FORGER}", issuer.serialized_origin()),
        sub: format!("lab-nobody-{}", &rng.token()[..8]),
        ..Others::default()
    };
    // Keys that no earlier run has shown to the service.
    let fresh = |name: &str| key.derive(&format!("{name}-{}", rng.token()));
    let (next, removed) = (fresh("next")?, fresh("removed")?);
    let mut issuer = LabIssuer::new(issuer, key)?;
    (issuer.next, issuer.removed) = (next, removed);
    Ok(Cast { issuer, untrusted, others, now: clock.now() })
}

impl Stage {
    /// Publishes what everybody has to say, the issuer's keys as given.
    pub(in crate::lab) fn publish(&self, jwks: Value) {
        self.hosted.publish(&self.cast.issuer, jwks);
        self.hosted.publish(&self.cast.untrusted, self.cast.untrusted.jwks());
        let mut forged = self.cast.issuer.stranger.public_jwk();
        forged["kid"] = json!(self.cast.issuer.key.kid());
        let url = &self.cast.others.url;
        self.hosted.put(&format!("{FORGER}/jwks.json"), Document::new(json!({"keys": [forged]})));
        let document = client_document(&format!("{url}{CIMD}"), &format!("{url}/jwks.json"));
        self.hosted.put(&format!("{FORGER}{CIMD}"), document);
        let path = path_of(&self.cast.issuer.url);
        let document = client_document(&self.own_client(), &self.cast.issuer.url.at("/client.jwks.json"));
        self.hosted.put(&format!("{path}/client.json"), document);
        let keys = json!({"keys": [self.cast.issuer.holder.public_jwk()]});
        self.hosted.put(&format!("{path}/client.jwks.json"), Document::new(keys));
    }

    /// The client that is named by a document of ours, where the service has registered none.
    fn own_client(&self) -> String {
        self.cast.issuer.url.at("/client.json")
    }

    /// Where the issuer's keys are.
    #[must_use]
    pub(in crate::lab) fn jwks_path(&self) -> String {
        format!("{}{JWKS}", path_of(&self.cast.issuer.url))
    }

    /// A good one of a kind about a user, never seen before.
    ///
    /// # Errors
    /// When a key cannot be made.
    pub(in crate::lab) fn good(&mut self, kind: Kind, user: &User) -> Result<Draft, JoseError> {
        self.cast.now = self.clock.now();
        let jti = self.rng.jti();
        let alg = self.cast.issuer.key.alg();
        if kind == Kind::Notice {
            let typ = self.target.notices.as_ref().map_or(ID_JAG, |(typ, _)| typ);
            return self.cast.notice(typ, alg, &self.target.audience, &user.sub, &jti);
        }
        self.cast.assertion(&self.terms(user, alg))
    }

    /// What a good assertion says.
    #[must_use]
    pub(in crate::lab) fn terms(&self, user: &User, alg: SigningAlg) -> Terms {
        let client_id = match (&self.client, self.target.dialect) {
            (Some(client), Dialect::Plain) => client.id.clone(),
            (None, Dialect::Plain) => self.own_client(),
            _ => self.cast.issuer.url.at(CIMD),
        };
        Terms {
            audience: self.target.audience.clone(),
            sub: user.sub.clone(),
            email: user.email.clone(),
            client_id,
            scope: self.target.scope.clone(),
            resource: self.target.resource.clone(),
            jti: self.rng.jti(),
            alg,
        }
    }

    /// The request that presents a token as its draft wants it, and what is listened to. Nothing where there is no such place.
    ///
    /// # Errors
    /// When the signer refuses.
    pub(in crate::lab) fn call(&self, kind: Kind, draft: &Draft, token: &str) -> Result<Option<(Call, At)>, JoseError> {
        let other = if let Presented::As(other) = draft.presented { Some(other) } else { None };
        if kind == Kind::Notice {
            let Some((typ, url)) = &self.target.notices else { return Ok(None) };
            let content_type = other.map_or_else(|| format!("application/{typ}"), str::to_owned);
            let call = Call::new(Method::Post, url.clone()).header("accept", "application/json");
            return Ok(Some((call.body(content_type, token), At::Notices)));
        }
        if draft.presented == Presented::AsBearer {
            let call = self.target.api.as_ref().map(|api| bearer(api, token));
            return Ok(call.map(|call| (call, At::Api)));
        }
        if self.target.dialect == Dialect::Plain || draft.presented == Presented::AtTokenEndpoint {
            let Some(url) = self.target.own_token_endpoint() else { return Ok(None) };
            let call = self.redeeming(url, token, other.unwrap_or(FORM))?;
            return Ok(Some((self.proven(call, draft, url)?, At::Door)));
        }
        let body = json!({"type": "identity_assertion", "assertion_type": ID_JAG_TYPE, "assertion": token});
        let body = if self.target.dialect == Dialect::V01 {
            with(body, "requested_credential_type", self.target.credential_type)
        } else {
            body
        };
        let url = &self.target.assertions;
        let call = Call::new(Method::Post, url.clone()).body(other.unwrap_or("application/json"), body.to_string());
        Ok(Some((self.proven(call, draft, url)?, At::Door)))
    }

    fn proven(&self, call: Call, draft: &Draft, url: &Url) -> Result<Call, JoseError> {
        let proof = self.cast.proof(draft, url.as_str())?;
        Ok(proof.into_iter().fold(call, |call, proof| call.header("dpop", proof)))
    }

    /// A request for an access token (RFC 7523 section 2.1), by a client that proves who it is where clients do that: with its secret, if it
    /// has one, as the service wants it (RFC 6749 section 2.3.1); with a key (RFC 7523 section 2.2) where the service knows it by a document.
    fn redeeming(&self, url: &Url, assertion: &str, content_type: &str) -> Result<Call, JoseError> {
        let call = Call::new(Method::Post, url.clone());
        let mut form = vec![("grant_type", JWT_BEARER), ("assertion", assertion)];
        if self.target.dialect != Dialect::Plain {
            return Ok(call.form(content_type, &form));
        }
        if let Some(Client { id, secret: None }) = &self.client {
            form.push(("client_id", id));
            return Ok(call.form(content_type, &form));
        }
        if let Some(Client { id, secret: Some(secret) }) = &self.client {
            if self.target.secret_in_form {
                form.extend([("client_id", id.as_str()), ("client_secret", secret.expose())]);
                return Ok(call.form(content_type, &form).hiding(secret.expose(), "CLIENT_SECRET"));
            }
            let escaped = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let pair = STANDARD.encode(format!("{}:{}", escaped(id), escaped(secret.expose())));
            let call = call.header("authorization", format!("Basic {pair}")).hiding(&pair, "CLIENT_ID_AND_SECRET");
            return Ok(call.form(content_type, &form));
        }
        let (id, now) = (self.own_client(), self.clock.now());
        let claims = json!({"iss": id, "sub": id, "aud": self.target.audience, "jti": self.rng.jti(), "iat": now,
            "exp": now + Seconds(60)});
        let proof = self.cast.issuer.holder.sign_jwt("JWT", &claims)?;
        form.extend([("client_assertion_type", CLIENT_ASSERTION), ("client_assertion", proof.as_str())]);
        Ok(call.form(content_type, &form))
    }

    /// Sends a token as its draft wants it, once; what is heard, and for the report.
    pub(in crate::lab) async fn present(&self, what: &str, kind: Kind, draft: &Draft, token: &str) -> (Heard, Said) {
        let call = match self.call(kind, draft, token) {
            Ok(Some(call)) => call,
            Ok(None) => return silent(what, "there is no such place at the service"),
            Err(error) => return silent(what, &error.to_string()),
        };
        let said = self.talk.send(what, &call.0, Some(draft)).await;
        let heard = match hear(call.1, &said.reply) {
            Heard::Refused { status, .. } if call.1 == At::Api && self.target.let_in == Some(status) => Heard::Taken,
            heard => heard,
        };
        (heard, said)
    }

    /// What lets a user in, by what an assertion was answered with.
    ///
    /// # Errors
    /// What is missing.
    pub(in crate::lab) async fn credential(&self, json: &Value) -> Result<(Credential, Option<Said>), String> {
        if let Some(bearer) = credential(json) {
            return Ok((Credential { bearer, own: None }, None));
        }
        let own = own_assertion(json).ok_or("there is no credential in the answer")?;
        let said = self.exchange(&own).await?;
        let reply = said.reply.as_ref().map_err(|silence| format!("{silence:?}"))?;
        let bearer = credential(&reply.json)
            .ok_or("the token endpoint gives no access token for the service's own assertion")?;
        Ok((Credential { bearer, own: Some(own) }, Some(said)))
    }

    /// Asks the token endpoint for an access token with the service's own assertion.
    ///
    /// # Errors
    /// When there is no token endpoint.
    pub(in crate::lab) async fn exchange(&self, own: &str) -> Result<Said, String> {
        let url = self.target.token.as_ref().ok_or("its metadata name no token endpoint")?;
        let call = self.redeeming(url, own, FORM).map_err(|error| error.to_string())?.hiding(own, "IDENTITY_ASSERTION");
        Ok(self.talk.send("the service's own assertion, for an access token", &call, None).await)
    }

    /// Looks at the API without a credential, and takes it away where that is not answered by 401: nothing could be seen there then, and why is
    /// said. Nothing where no API is known.
    pub(in crate::lab) async fn look_for_the_api(&mut self) -> Option<(Said, Option<String>)> {
        let api = self.target.api.clone()?;
        let said = self.talk.send("the API, without a credential", &Call::new(Method::Get, api.clone()), None).await;
        let status = said.reply.as_ref().map(|reply| reply.status);
        if status == Ok(401) {
            return Some((said, None));
        }
        self.target.api = None;
        let what = status.map_or_else(|silence| format!("{silence:?}"), |status| status.to_string());
        let why = format!(
            "{api} does not answer 401 to whoever has no credential ({what}), so nothing can be seen there: name another place with --api"
        );
        Some((said, Some(why)))
    }

    /// Whether the API is seen to let in whoever has a credential that lives. Some want more of a request than a GET, as the endpoint of an MCP
    /// server does: what they say to it tells as much, where they say 401 to a credential that nobody gave (RFC 6750 section 3.1).
    pub(in crate::lab) async fn lets_in(&mut self, credential: &str) -> bool {
        let Some(api) = self.target.api.clone() else { return false };
        let status = async |what, credential: &str| {
            let call = bearer(&api, credential).hiding(credential, "CREDENTIAL");
            self.talk.send(what, &call, None).await.reply.map(|reply| reply.status)
        };
        match status("the API, with the credential", credential).await {
            Ok(200..=299) => true,
            Ok(said @ (400 | 404 | 405 | 406 | 415 | 422)) => {
                let of_nobody = self.rng.token();
                let tells = status("the API, with a credential that nobody gave", &of_nobody).await == Ok(401);
                self.target.let_in = tells.then_some(said);
                tells
            }
            _ => false,
        }
    }

    /// Whether a credential lives; nothing where that cannot be seen.
    pub(in crate::lab) async fn lives(&self, what: &str, credential: &str) -> (Option<bool>, Option<Evidence>) {
        let Some(api) = &self.target.api else { return (None, None) };
        let call = bearer(api, credential).hiding(credential, "CREDENTIAL");
        let said = self.talk.send(what, &call, None).await;
        let lives = match said.reply.as_ref().map(|reply| reply.status) {
            Ok(200..=299) => Some(true),
            Ok(401) => Some(false),
            Ok(said) if self.target.let_in == Some(said) => Some(true),
            _ => None,
        };
        (lives, Some(said.evidence))
    }
}

fn bearer(api: &Url, token: &str) -> Call {
    Call::new(Method::Get, api.clone()).header("authorization", format!("Bearer {token}"))
}

fn with(mut value: Value, name: &str, member: &str) -> Value {
    value[name] = json!(member);
    value
}

/// Nothing was sent.
fn silent(what: &str, why: &str) -> (Heard, Said) {
    let failure = Some(why.to_owned());
    let evidence =
        Evidence { what: what.to_owned(), curl: String::new(), token: None, answer: None, failure, took_ms: 0 };
    (Heard::Nothing(why.to_owned()), Said { evidence, reply: Err(super::talk::Silence::Failed(why.to_owned())) })
}
