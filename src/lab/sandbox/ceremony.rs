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
use super::metadata::ASK_AGAIN;
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

fn unknown() -> Refusal {
    Refusal::coded(401, "invalid_claim_token", "claim_token is unknown")
}

fn expired() -> Refusal {
    Refusal::coded(410, "claim_expired", "the user did not answer in time")
}

fn denied() -> Refusal {
    Refusal::coded(403, "claim_denied", "the user says that the account is not theirs")
}

impl Sandbox {
    /// Begins a ceremony, and says so.
    pub(super) fn ask_user(&self, state: &mut State, registration: Registration, now: Timestamp) -> Refusal {
        let claim_token = format!("clm_{}", self.0.rng.token());
        let (attempt, user_code) = self.question();
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
                    "url": format!("{origin}{ASK_AGAIN}"),
                    "attempt": {"verification_uri": page, "expires_at": iso8601(expires_at)},
                },
            })
        } else {
            json!({
                "registration_id": id,
                "registration_type": "identity_assertion",
                "claim_url": format!("{origin}{ASK_AGAIN}"),
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

    /// The name of a page, and the code that goes with it.
    fn question(&self) -> (String, String) {
        let code = u32::from_be_bytes(self.0.rng.bytes::<4>()) % 1_000_000;
        (self.0.rng.token(), format!("{code:06}"))
    }

    /// Another question, in the place of one that has not been answered (auth.md, "POST /agent/identity/claim"): for whoever has lost the page
    /// or its code. It goes to nobody but the user of the account.
    pub(super) async fn asked_again(&self, request: Request) -> Result<Value, Refusal> {
        let bytes = body(request, JSON, self.0.broken).await?;
        let members: Members =
            serde_json::from_slice(&bytes).map_err(|_| malformed("the body is not a JSON object"))?;
        let nested = self.0.dialect == Dialect::Nested;
        // v0.4 to v0.6 had no type here, and called the hint an e-mail at first.
        let known = if nested { Some("service_auth") } else { Some("login_hint") };
        if members.text("type") != known && (nested || members.get("type").is_some()) {
            return Err(malformed("type is none that is taken here"));
        }
        let hint = members.text("login_hint").or_else(|| members.text("email").filter(|_| !nested));
        let now = self.0.clock.now();
        let (attempt, user_code) = self.question();
        let mut state = self.state();
        let hash = members.text("claim_token").map(token_hash).unwrap_or_default();
        self.judge_open(state.ceremony(&hash).map(|ceremony| &*ceremony), hint, now)?;
        self.judge_user_rate(&mut state, hint.unwrap_or_default())?;
        let ceremony = state.ceremony(&hash).ok_or_else(unknown)?;
        ceremony.attempt.clone_from(&attempt);
        ceremony.user_code.clone_from(&user_code);
        ceremony.failures = 0;
        let (id, email) = (ceremony.registration.id.clone(), ceremony.registration.person.email.clone());
        let expires_at = ceremony.expires_at;
        state.note(now, What::Asked { registration_id: id.clone(), email });
        let page = format!("{}/claim/{attempt}", self.0.origin);
        Ok(if nested {
            let attempt = json!({"verification_uri": page, "expires_at": iso8601(expires_at)});
            json!({"id": id, "type": "service_auth", "attempt": attempt})
        } else {
            json!({
                "registration_id": id,
                // The page's own name is for the user's eyes alone.
                "claim_attempt_id": format!("cla_{}", &token_hash(&attempt)[..22]),
                "status": "initiated",
                "expires_at": iso8601(expires_at),
                "claim_attempt": {"user_code": user_code, "verification_uri": page, "expires_in": (expires_at - now).0,
                    "interval": INTERVAL},
            })
        })
    }

    /// Whether a ceremony waits for this user.
    fn judge_open(&self, ceremony: Option<&Ceremony>, hint: Option<&str>, now: Timestamp) -> Result<(), Refusal> {
        let ceremony = ceremony.ok_or_else(unknown)?;
        if now >= ceremony.expires_at {
            return Err(expired());
        }
        let person = &ceremony.registration.person;
        if hint.is_none() || ![person.email.as_deref(), person.phone_number.as_deref()].contains(&hint) {
            let why = "login_hint is missing, or not the user's whose account it is";
            return Err(Refusal::coded(400, "invalid_login_hint", why));
        }
        match (ceremony.answer, self.0.dialect == Dialect::Nested) {
            (None, _) => Ok(()),
            (Some(false), true) => Err(denied()),
            (Some(true), true) => Err(Refusal::coded(409, "already_claimed", "the user has said yes already")),
            (Some(_), false) => Err(Refusal::coded(409, "claimed_or_in_flight", "the user has answered already")),
        }
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
        let ceremony = state.ceremony(&hash).ok_or_else(unknown)?;
        if now >= ceremony.expires_at {
            return Err(expired());
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
            Some(false) => Err(denied()),
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
