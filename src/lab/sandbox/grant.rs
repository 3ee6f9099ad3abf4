//! The token endpoint (RFC 7523; auth.md, "Token endpoint"; ID-JAG draft section 4.4) and revocation by clients (RFC 7009).

use axum::extract::Request;
use axum::http::{HeaderMap, Method};
use serde_json::{Map, Value, json};

use super::Sandbox;
use super::checks::{Check, Checks};
use super::event::What;
use super::examine::Presenter;
use super::form::{FORM, Fields, body};
use super::identity::ACCESS_TOKEN_LIFETIME;
use super::possession::{Proof, Wanted, proof};
use super::reply::Refusal;
use super::state::{Credential, Given, Registration, State};
use crate::domain::time::Timestamp;
use crate::lab::flaws::{Class, Dialect, Rule};
use crate::secret::token_hash;

pub(super) const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// For assertions that are bound to a key (ID-JAG draft section 9.8).
pub(super) const JWT_DPOP: &str = "urn:ietf:params:oauth:grant-type:jwt-dpop";
/// auth.md v0.4 to v0.7.
pub(super) const CLAIM: &str = "urn:workos:agent-auth:grant-type:claim";

impl Sandbox {
    /// An access token.
    pub(super) async fn granted(&self, request: Request, checks: &mut Checks) -> Result<Value, Refusal> {
        let headers = request.headers().clone();
        if self.0.dialect == Dialect::Plain {
            self.judge_rate(&request)?;
        }
        let form = Fields::parse(&body(request, FORM, self.0.broken).await?)?;
        let now = self.0.clock.now();
        match (form.get("grant_type"), self.0.dialect) {
            (Some(JWT_BEARER | JWT_DPOP), Dialect::Plain) => self.by_id_jag(&headers, &form, checks, now).await,
            (Some(JWT_BEARER), Dialect::Flat | Dialect::Nested) => self.by_own_assertion(&form, checks, now).await,
            (Some(CLAIM), Dialect::Flat) => self.by_claim(&form, now),
            (Some(_), _) => Err(Refusal::coded(400, "unsupported_grant_type", "this grant_type is not taken here")),
            (None, _) => Err(Refusal::coded(400, "invalid_request", "grant_type is missing")),
        }
    }

    /// A provider's assertion, by a client that proves who it is (ID-JAG draft section 4.4).
    async fn by_id_jag(
        &self,
        headers: &HeaderMap,
        form: &Fields,
        checks: &mut Checks,
        now: Timestamp,
    ) -> Result<Value, Refusal> {
        checks.ask(Check::ClientAuthentication);
        let client = self.authenticate(headers, form, now).await?;
        checks.ask(Check::Proof);
        let proof = self.proof_of_request(headers, now)?;
        let assertion = assertion(form)?;
        let examined = self.examine(assertion, Presenter::Client(&client, proof.as_ref()), checks).await?;
        let mut state = self.state();
        checks.ask(Check::Account);
        self.judge_user_rate(&mut state, &format!("{} {}", examined.issuer.as_str(), examined.sub))?;
        checks.ask(Check::Jti);
        self.spend(&mut state, &examined, now)?;
        if let Some(proof) = &proof {
            // Others may have come with it meanwhile.
            if state.is_used(&proof.mark, now) {
                return Err(used());
            }
            let most = state.most;
            state.spend(proof.mark.clone(), most, now)?;
        }
        checks.ask(Check::Account);
        let (registration, _) = self.registration(&mut state, &examined)?;
        state.note(
            now,
            What::Registered {
                registration_id: registration.id.clone(),
                credential_type: "access_token",
                iss: registration.iss.clone(),
                sub: registration.sub.clone(),
                agent_platform: examined.agent_platform,
                agent_context_id: examined.agent_context_id,
            },
        );
        let mut answer = self.access_token(&mut state, registration, proof.map(|proof| proof.jkt), now);
        // What was granted is said where it was asked for (section 4.4.1).
        if let Some(resource) = examined.resource {
            answer.insert("resource".into(), resource);
        }
        Ok(Value::Object(answer))
    }

    fn proof_of_request(&self, headers: &HeaderMap, now: Timestamp) -> Result<Option<Proof>, Refusal> {
        if self.0.broken.lacks(Rule::IgnoreCnf) {
            return Ok(None);
        }
        let url = format!("{}/oauth2/token", self.0.origin);
        let wanted = Wanted { method: &Method::POST, url: &url, access_token: None, now };
        let proof = proof(headers, &wanted, self.0.broken)?;
        if proof.as_ref().is_some_and(|proof| self.state().is_used(&proof.mark, now)) {
            return Err(used());
        }
        Ok(proof)
    }

    /// The service's own assertion, as often as it likes until that ends.
    async fn by_own_assertion(&self, form: &Fields, checks: &mut Checks, now: Timestamp) -> Result<Value, Refusal> {
        let assertion = assertion(form)?;
        if let Some(answer) = self.by_what_was_given(assertion, now)? {
            return Ok(Value::Object(answer));
        }
        if self.0.broken.lacks(Rule::AcceptForeignAssertionAtTokenEndpoint) {
            let examined = self.examine(assertion, Presenter::Bearer, checks).await?;
            let mut state = self.state();
            state.judge_room(now)?;
            let registration = self.registration(&mut state, &examined)?.0;
            return Ok(Value::Object(self.access_token(&mut state, registration, None, now)));
        }
        Err(Refusal::coded(
            400,
            "invalid_grant",
            "the assertion is none of this service's own, has ended, or was withdrawn",
        ))
    }

    /// Looked up and given under one lock, so that no withdrawal comes between.
    fn by_what_was_given(&self, assertion: &str, now: Timestamp) -> Result<Option<Map<String, Value>>, Refusal> {
        let mut state = self.state();
        let found = state.find(&token_hash(assertion), now).filter(|given| given.what == Credential::Assertion);
        let Some(registration) = found.map(|given| given.registration.clone()) else { return Ok(None) };
        state.judge_room(now)?;
        state.note(now, What::Issued { registration_id: registration.id.clone() });
        Ok(Some(self.access_token(&mut state, registration, None, now)))
    }

    fn by_claim(&self, form: &Fields, now: Timestamp) -> Result<Value, Refusal> {
        let missing = || Refusal::coded(400, "invalid_request", "claim_token is missing");
        let claim_token = form.get("claim_token").ok_or_else(missing)?;
        let mut state = self.state();
        state.judge_room(now)?;
        let registration = state.polled(claim_token, now)?;
        let (assertion, expires_at) = self.own_assertion(&mut state, registration.clone(), now);
        let mut answer = self.access_token(&mut state, registration, None, now);
        answer.insert("identity_assertion".into(), json!(assertion));
        answer.insert("assertion_expires".into(), json!(super::identity::iso8601(expires_at)));
        Ok(Value::Object(answer))
    }

    /// Never with a refresh token (ID-JAG draft section 4.4.3).
    fn access_token(
        &self,
        state: &mut State,
        registration: Registration,
        jkt: Option<String>,
        now: Timestamp,
    ) -> Map<String, Value> {
        let token = format!("sandbox_access_token_{}", self.0.rng.token());
        let scope = registration.scopes.to_string();
        let kind = if jkt.is_some() { "DPoP" } else { "Bearer" };
        let expires_at = Some(now + ACCESS_TOKEN_LIFETIME);
        let given = Given { what: Credential::AccessToken, registration, expires_at, jkt };
        state.give(token_hash(&token), given);
        let mut answer = Map::new();
        answer.insert("access_token".into(), json!(token));
        answer.insert("token_type".into(), json!(kind));
        answer.insert("expires_in".into(), json!(ACCESS_TOKEN_LIFETIME.0));
        answer.insert("scope".into(), json!(scope));
        answer
    }

    /// A client gives a token back (RFC 7009 section 2.2): also an unknown one is answered with 200.
    pub(super) async fn given_back(&self, request: Request) -> Result<(), Refusal> {
        let form = Fields::parse(&body(request, FORM, self.0.broken).await?)?;
        let token = form.get("token").ok_or_else(|| Refusal::new(Class::Malformed, "token is missing"))?;
        self.state().end(&token_hash(token));
        Ok(())
    }
}

fn used() -> Refusal {
    Refusal::coded(400, "invalid_dpop_proof", "this proof was used before")
}

fn assertion(form: &Fields) -> Result<&str, Refusal> {
    form.get("assertion").ok_or_else(|| Refusal::coded(400, "invalid_request", "assertion is missing"))
}
