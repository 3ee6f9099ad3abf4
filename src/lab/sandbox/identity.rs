//! Where agents come with a user's assertion (auth.md, "POST /agent/auth" and "POST /agent/identity").

use axum::extract::Request;
use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};

use super::Sandbox;
use super::checks::{Check, Checks};
use super::claims::malformed;
use super::event::What;
use super::examine::{Examined, Presenter};
use super::form::{JSON, body};
use super::members::Members;
use super::reply::Refusal;
use super::state::{Account, Credential, Given, Match, Registration, State, registration_id};
use crate::domain::claims::ID_JAG;
use crate::domain::time::{Seconds, Timestamp};
use crate::lab::flaws::{Class, Dialect, Rule};
use crate::secret::token_hash;

/// The assertion type accepted (ID-JAG draft section 3.1).
pub(super) const ID_JAG_TYPE: &str = "urn:ietf:params:oauth:token-type:id-jag";

/// An e-mail address in the place of an assertion (v0.1, "Email required").
pub(super) const EMAIL_TYPE: &str = "verified_email";

/// The credentials that v0.1 gives out.
pub(super) const CREDENTIAL_TYPES: [&str; 2] = ["access_token", "api_key"];

/// Seconds an access token lives; an API key lives until it is revoked.
pub(super) const ACCESS_TOKEN_LIFETIME: Seconds = Seconds(3600);

/// Seconds the service's own assertion lives.
const ASSERTION_LIFETIME: Seconds = Seconds(24 * 3600);

/// What an agent asks for.
struct Asked {
    by: By,
    /// v0.1 alone asks.
    credential_type: &'static str,
}

/// By what it registers.
enum By {
    Assertion(String),
    /// An address that nobody has verified; v0.1 alone.
    Email(String),
}

impl Sandbox {
    /// Verifies an assertion and gives out a credential, or asks the user first. Nothing is kept before all checks have passed.
    pub(super) async fn registered(&self, request: Request, checks: &mut Checks) -> Result<Value, Refusal> {
        self.judge_rate(&request)?;
        let members = read(&body(request, JSON, self.0.broken).await?)?;
        let is_first = self.0.dialect == Dialect::V01;
        if is_first && members.text("type") == Some("anonymous") {
            return self.anonymous(&members, self.0.clock.now());
        }
        let asked = self.asked(&members)?;
        let assertion = match &asked.by {
            By::Assertion(assertion) => assertion,
            By::Email(email) => return self.by_email(email, asked.credential_type, self.0.clock.now()),
        };
        let examined = self.examine(assertion, Presenter::Bearer, checks).await?;
        let now = self.0.clock.now();
        let mut state = self.state();
        checks.ask(Check::Account);
        self.judge_user_rate(&mut state, &format!("{} {}", examined.issuer.as_str(), examined.sub))?;
        checks.ask(Check::Jti);
        self.spend(&mut state, &examined, now)?;
        checks.ask(Check::Account);
        let (registration, waits) = self.registration(&mut state, &examined)?;
        if waits {
            return Err(self.ask_user(&mut state, registration, now));
        }
        Ok(self.give(&mut state, registration, &asked, &examined, now))
    }

    /// The request around an assertion.
    fn asked(&self, members: &Members) -> Result<Asked, Refusal> {
        let is_first = self.0.dialect == Dialect::V01;
        if members.text("type") != Some("identity_assertion") {
            return Err(malformed("type is none that is taken here"));
        }
        let by: fn(String) -> By = match members.text("assertion_type") {
            Some(ID_JAG_TYPE) => By::Assertion,
            Some(EMAIL_TYPE) if is_first => By::Email,
            _ => return Err(malformed("assertion_type is none that is taken here")),
        };
        let credential_type = if is_first {
            let asked = members.text("requested_credential_type");
            let known = CREDENTIAL_TYPES.into_iter().find(|known| Some(*known) == asked);
            let why = "requested_credential_type is neither access_token nor api_key";
            known.ok_or_else(|| Refusal::coded(400, "unsupported_credential_type", why))?
        } else {
            "identity_assertion"
        };
        let assertion = members.text("assertion").ok_or_else(|| malformed("assertion is missing or not a text"))?;
        Ok(Asked { by: by(assertion.to_owned()), credential_type })
    }

    /// Uses up an assertion's `jti`; others may have come meanwhile.
    pub(super) fn spend(&self, state: &mut State, examined: &Examined, now: Timestamp) -> Result<(), Refusal> {
        state.judge_room(now)?;
        let Some(mark) = &examined.mark else { return Ok(()) };
        if state.is_used(mark, now) && !self.0.broken.lacks(Rule::NoJtiMemory) {
            return Refusal::because(Class::Replay, "this jti was used before");
        }
        let most = state.most;
        state.spend(mark.clone(), most, now)
    }

    /// Whose account an assertion leads to (auth.md, "User matching and JIT provisioning"), and whether that user has to be asked first.
    pub(super) fn registration(&self, state: &mut State, examined: &Examined) -> Result<(Registration, bool), Refusal> {
        let (iss, sub, person) = (examined.issuer.as_str(), examined.sub.as_str(), &examined.person);
        let is_denied = |name: &str| self.0.denied.iter().any(|denied| denied == name);
        if (is_denied(sub) || person.email.as_deref().is_some_and(is_denied))
            && !self.0.broken.lacks(Rule::MakeAccountsForAnybody)
        {
            return Err(Refusal {
                code: Some((400, "access_denied")),
                ..Refusal::new(Class::Access, "this user may not use this service")
            });
        }
        let new = |state: &mut State| state.add_account(format!("user_{}", &self.0.rng.token()[..16]), person.clone());
        let (account, waits): (Account, bool) = match state.account_of(iss, sub, person) {
            Match::Linked(account) => (account, false),
            // Known by `sub` alone.
            Match::Alike(_) if self.0.dialect == Dialect::Plain => (new(state)?, false),
            // v0.1 links by a verified address.
            Match::Alike(account) => {
                let silently = self.0.dialect == Dialect::V01 || self.0.broken.lacks(Rule::LinkSilentlyByEmail);
                (account, !silently)
            }
            Match::Nobody => (new(state)?, false),
        };
        if !waits {
            state.link(iss, sub, &account.id);
        }
        let registration = Registration {
            id: registration_id(iss, sub, &self.0.origin),
            iss: iss.to_owned(),
            sub: sub.to_owned(),
            account: account.id,
            person: person.clone(),
            scopes: examined.scopes.clone(),
        };
        Ok((registration, waits))
    }

    fn give(
        &self,
        state: &mut State,
        registration: Registration,
        asked: &Asked,
        examined: &Examined,
        now: Timestamp,
    ) -> Value {
        let (id, scopes) = (registration.id.clone(), registration.scopes.iter().map(str::to_owned).collect::<Vec<_>>());
        tracing::info!(iss = ?registration.iss, sub = ?registration.sub, registration_id = id, "registered");
        state.note(
            now,
            What::Registered {
                registration_id: id.clone(),
                credential_type: asked.credential_type,
                iss: registration.iss.clone(),
                sub: registration.sub.clone(),
                agent_platform: examined.agent_platform.clone(),
                agent_context_id: examined.agent_context_id.clone(),
            },
        );
        if self.0.dialect == Dialect::V01 {
            let (credential, expires_at) = self.credential(state, asked.credential_type, registration, now);
            return json!({
                "registration_id": id,
                "registration_type": "agent-provider",
                "credential_type": asked.credential_type,
                "credential": credential,
                "credential_expires": expires_at.map(iso8601),
                "scopes": scopes,
            });
        }
        let (assertion, expires_at) = self.own_assertion(state, registration, now);
        if self.0.dialect == Dialect::Nested {
            return json!({
                "id": id,
                "type": "identity_assertion",
                "identity": {"assertion": assertion, "expires_at": iso8601(expires_at)},
                "scopes": scopes,
            });
        }
        json!({
            "registration_id": id,
            "registration_type": "identity_assertion",
            "identity_assertion": assertion,
            "assertion_expires": iso8601(expires_at),
            "scopes": scopes,
        })
    }

    /// The service's own assertion about a registration, which gets access tokens at the token endpoint (auth.md, "Token endpoint").
    pub(super) fn own_assertion(
        &self,
        state: &mut State,
        registration: Registration,
        now: Timestamp,
    ) -> (String, Timestamp) {
        let (origin, expires_at) = (&self.0.origin, now + ASSERTION_LIFETIME);
        let claims = json!({
            "iss": origin, "aud": origin, "sub": registration.id, "jti": self.0.rng.id(now), "iat": now, "exp": expires_at,
        });
        let assertion = self.0.key.sign_jwt(ID_JAG, &claims).expect("a key in memory signs");
        let given = Given { what: Credential::Assertion, registration, expires_at: Some(expires_at), jkt: None };
        state.give(token_hash(&assertion), given);
        (assertion, expires_at)
    }
}

fn read(body: &[u8]) -> Result<Members, Refusal> {
    let members: Members = serde_json::from_slice(body).map_err(|_| malformed("the body is not a JSON object"))?;
    if members.repeated { Err(malformed("a member is repeated")) } else { Ok(members) }
}

/// As JavaScript writes it: `2026-05-04T13:00:00.000Z`.
pub(super) fn iso8601(at: Timestamp) -> Option<String> {
    DateTime::from_timestamp(at.0, 0).map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}
