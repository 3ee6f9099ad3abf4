//! Where a user says that an account is theirs (auth.md as of v0.5, `interaction_required`; the ceremony is that of v0.4 to v0.7 where
//! members are flat, and of the newest text where they are nested).

use axum::extract::{Path, Request, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::Sandbox;
use super::claims::malformed;
use super::event::What;
use super::form::{FORM, Fields, JSON, body};
use super::identity::iso8601;
use super::members::Members;
use super::page;
use super::reply::{self, Refusal};
use super::state::{CEREMONY, Ceremony, Registration, State};
use crate::domain::time::Timestamp;
use crate::lab::flaws::{Broken, Class, Dialect};
use crate::secret::{same, token_hash};

/// Seconds between two questions whether the user has answered.
const INTERVAL: i64 = 5;

/// Wrong codes after which there is no further one.
const MAX_FAILURES: u8 = 5;

impl Sandbox {
    /// Begins a ceremony, and says so.
    pub(super) fn ask_user(&self, state: &mut State, registration: Registration, now: Timestamp) -> Refusal {
        let claim_token = format!("clm_{}", self.0.rng.token());
        let attempt = self.0.rng.token();
        let code = self.0.rng.bytes::<4>();
        let user_code = format!("{:06}", u32::from_be_bytes(code) % 1_000_000);
        let (origin, expires_at) = (&self.0.origin, now + CEREMONY);
        let page = format!("{origin}/claim/{attempt}");
        let scopes: Vec<String> = registration.scopes.iter().map(str::to_owned).collect();
        let (id, email) = (registration.id.clone(), registration.person.email.clone());
        let ceremony =
            Ceremony { attempt, user_code: user_code.clone(), registration, expires_at, answer: None, failures: 0 };
        if let Err(full) = state.begin(token_hash(&claim_token), ceremony, now) {
            return full;
        }
        state.note(now, What::Asked { registration_id: id.clone(), email });
        let more = if self.0.dialect == Dialect::Nested {
            json!({
                "id": id,
                "type": "identity_assertion",
                "scopes": {"post_claim": scopes},
                "claim": {
                    "token": claim_token,
                    "expires_at": iso8601(expires_at),
                    "url": format!("{origin}/agent/identity/claim"),
                    "attempt": {"verification_uri": page, "expires_at": iso8601(expires_at)},
                },
            })
        } else {
            json!({
                "registration_id": id,
                "registration_type": "identity_assertion",
                "claim_url": format!("{origin}/agent/identity/claim"),
                "claim_token": claim_token,
                "claim_token_expires": iso8601(expires_at),
                "post_claim_scopes": scopes,
                "claim": {"user_code": user_code, "expires_in": CEREMONY.0, "verification_uri": page, "interval": INTERVAL},
            })
        };
        let why = "an account here has this address, and its user has to confirm that it is theirs";
        let mut refusal = Refusal::new(Class::Interaction, why);
        if let Value::Object(members) = more {
            refusal.more = members;
        }
        refusal
    }

    /// The code that the user read to the agent (the newest text, "Complete").
    pub(super) async fn completed(&self, request: Request) -> Result<Value, Refusal> {
        let bytes = body(request, JSON, self.0.broken).await?;
        let members: Members =
            serde_json::from_slice(&bytes).map_err(|_| malformed("the body is not a JSON object"))?;
        let now = self.0.clock.now();
        let claim_token = members.text("claim_token");
        let claim_token = claim_token.ok_or_else(|| Refusal::coded(400, "invalid_claim", "claim_token is missing"))?;
        let mut state = self.state();
        let hash = token_hash(claim_token);
        let Some(ceremony) = state.ceremony(&hash) else {
            return Err(Refusal::coded(401, "invalid_claim_token", "claim_token is unknown"));
        };
        if now >= ceremony.expires_at {
            return Err(Refusal::coded(410, "claim_expired", "the user did not answer in time"));
        }
        if ceremony.failures >= MAX_FAILURES {
            return Err(Refusal::coded(
                429,
                "too_many_attempts",
                "too many wrong codes: begin again with a new assertion",
            ));
        }
        match ceremony.answer {
            None => Err(Refusal::coded(409, "claim_not_confirmed", "the user has not answered yet")),
            Some(false) => Err(Refusal::coded(403, "claim_denied", "the user says that the account is not theirs")),
            Some(true) if !members.text("user_code").is_some_and(|code| same(code, &ceremony.user_code)) => {
                ceremony.failures += 1;
                Err(Refusal::coded(401, "invalid_user_code", "the code is not the one on the page"))
            }
            Some(true) => {
                let registration = ceremony.registration.clone();
                state.finish(&hash);
                let id = registration.id.clone();
                let (assertion, expires_at) = self.own_assertion(&mut state, registration, now);
                Ok(json!({
                    "id": id, "status": "claimed", "identity": {"assertion": assertion, "expires_at": iso8601(expires_at)},
                }))
            }
        }
    }

    fn answered(&self, attempt: &str, fields: &Fields, now: Timestamp) -> Result<(), &'static str> {
        let reveals = self.0.dialect == Dialect::Nested;
        let mut state = self.state();
        let Some(ceremony) = state.attempt(attempt).filter(|ceremony| now < ceremony.expires_at) else {
            return Err("This question has expired.");
        };
        if ceremony.answer.is_some() || ceremony.failures >= MAX_FAILURES {
            return Err("This question has been answered.");
        }
        let yes = fields.get("decision") == Some("yes");
        if yes && !reveals && !fields.get("user_code").is_some_and(|code| same(code.trim(), &ceremony.user_code)) {
            ceremony.failures += 1;
            return Err("That is not the code that your agent shows.");
        }
        ceremony.answer = Some(yes);
        if yes {
            let Registration { id, iss, sub, account, .. } = ceremony.registration.clone();
            state.link(&iss, &sub, &account);
            state.note(now, What::Confirmed { registration_id: id, claimed_by_user_id: account });
        }
        Ok(())
    }
}

/// The page on which the user is asked.
pub(super) async fn ask(Shared(sandbox): Shared<Sandbox>, Path(attempt): Path<String>) -> Response {
    let now = sandbox.0.clock.now();
    let found = sandbox.state().attempt(&attempt).cloned().filter(|ceremony| now < ceremony.expires_at);
    reply::page(page::question(found.as_ref(), sandbox.0.dialect == Dialect::Nested, None))
}

/// What the user says there.
pub(super) async fn answer(
    Shared(sandbox): Shared<Sandbox>,
    Path(attempt): Path<String>,
    request: Request,
) -> Response {
    let now = sandbox.0.clock.now();
    if let Some(response) = reply::from_elsewhere(request.headers()) {
        return response;
    }
    let fields = match body(request, FORM, Broken::default()).await.and_then(|bytes| Fields::parse(&bytes)) {
        Ok(fields) => fields,
        Err(refusal) => return reply::error(StatusCode::BAD_REQUEST, "invalid_request", &refusal.message),
    };
    let problem = sandbox.answered(&attempt, &fields, now).err();
    let found = sandbox.state().attempt(&attempt).cloned();
    reply::page(page::question(found.as_ref(), sandbox.0.dialect == Dialect::Nested, problem))
}
