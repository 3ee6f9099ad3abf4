//! Registrations without an issuer, and how a user claims one with a code (auth.md v0.1, "User claimed flow"): anonymous, or by an e-mail
//! address that nobody has verified yet. The code is shown on a page, where a real service sends its address by e-mail.

use axum::extract::{Path, Request, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::Sandbox;
use super::claimable::{ANONYMOUS_TYPES, Attempt, Claim, Otp, Stage};
use super::claims::malformed;
use super::event::What;
use super::form::{FORM, Fields, JSON, body};
use super::identity::{ACCESS_TOKEN_LIFETIME, iso8601};
use super::members::Members;
use super::page::{self, State as Page};
use super::person::{Person, is_address};
use super::reply::{self, Refusal};
use super::state::{CEREMONY, Credential, Given, Match, Registration, State};
use super::target::SCOPES;
use crate::domain::scope::Scope;
use crate::domain::time::{Seconds, Timestamp};
use crate::lab::flaws::Broken;
use crate::secret::{same, token_hash};

/// Seconds in which a registration may be claimed. What was given for one that nobody claimed ends with them.
pub(super) const UNCLAIMED: Seconds = Seconds(24 * 3600);

/// Wrong codes after which a code is dead; six digits are guarded by nothing else.
const MAX_FAILURES: u8 = 5;

fn no(status: u16, code: &'static str, why: &'static str) -> Refusal {
    Refusal::coded(status, code, why)
}

impl Sandbox {
    /// A registration of nobody in particular, with a key that may do little until somebody claims it.
    pub(super) fn anonymous(&self, members: &Members, now: Timestamp) -> Result<Value, Refusal> {
        if !ANONYMOUS_TYPES.map(Some).contains(&members.text("requested_credential_type")) {
            return Err(no(400, "unsupported_credential_type", "requested_credential_type is not api_key"));
        }
        let scopes = Scope::from_iter([SCOPES[0]]);
        let registration = self.unclaimed(Person { email: None, phone_number: None }, scopes);
        let mut state = self.state();
        state.judge_room(now)?;
        let claim = Claim {
            registration: registration.clone(),
            credential_type: None,
            expires_at: now + UNCLAIMED,
            at: Stage::Unclaimed,
        };
        let mut answer = self.begin_claim(&mut state, claim, "anonymous", now)?;
        let credential = format!("sandbox_api_key_{}", self.0.rng.token());
        let expires_at = Some(now + UNCLAIMED);
        let given = Given { what: Credential::ApiKey, registration, expires_at, jkt: None };
        state.give(token_hash(&credential), given);
        answer["credential_type"] = json!("api_key");
        answer["credential"] = json!(credential);
        answer["credential_expires"] = json!(expires_at.map(iso8601));
        answer["scopes"] = json!([SCOPES[0]]);
        Ok(answer)
    }

    /// A registration by an e-mail address: nothing is given before whoever reads that says so.
    pub(super) fn by_email(
        &self,
        email: &str,
        credential_type: &'static str,
        now: Timestamp,
    ) -> Result<Value, Refusal> {
        if !is_address(email) {
            return Err(malformed("assertion is no e-mail address"));
        }
        let person = Person { email: Some(email.to_owned()), phone_number: None };
        let registration = self.unclaimed(person, SCOPES.into_iter().collect());
        let mut state = self.state();
        self.judge_user_rate(&mut state, email)?;
        state.judge_room(now)?;
        let attempt = Attempt { id: self.0.rng.token(), email: email.to_owned(), otp: None };
        let (expires_at, at) = (now + UNCLAIMED, Stage::Asked(attempt));
        let claim = Claim { registration, credential_type: Some(credential_type), expires_at, at };
        let id = claim.registration.id.clone();
        let answer = self.begin_claim(&mut state, claim, "email-verification", now)?;
        state.note(now, What::Asked { registration_id: id, email: Some(email.to_owned()) });
        Ok(answer)
    }

    fn unclaimed(&self, person: Person, scopes: Scope) -> Registration {
        let id = format!("reg_{}", &self.0.rng.token()[..22]);
        Registration { id, iss: String::new(), sub: String::new(), account: String::new(), person, scopes }
    }

    fn begin_claim(
        &self,
        state: &mut State,
        claim: Claim,
        registration_type: &'static str,
        now: Timestamp,
    ) -> Result<Value, Refusal> {
        let claim_token = format!("clm_{}", self.0.rng.token());
        let (id, most, expires_at) = (claim.registration.id.clone(), state.most, claim.expires_at);
        state.lapse(now);
        if !state.claims.add(token_hash(&claim_token), claim, most) {
            return super::state::full();
        }
        tracing::info!(registration_id = id, registration_type, "registered");
        state.note(now, What::Begun { registration_id: id.clone(), registration_type });
        Ok(json!({
            "registration_id": id,
            "registration_type": registration_type,
            "claim_url": format!("{}/agent/auth/claim", self.0.origin),
            "claim_token": claim_token,
            "claim_token_expires": iso8601(expires_at),
            "post_claim_scopes": SCOPES,
        }))
    }

    /// "POST /agent/auth/claim": the user whose address this is may claim it. A later one takes the place of an earlier one.
    pub(super) async fn claim_started(&self, request: Request) -> Result<Value, Refusal> {
        let members = object(&body(request, JSON, self.0.broken).await?)?;
        let email = members.text("email").filter(|email| is_address(email));
        let email = email.ok_or_else(|| malformed("email is missing, or no address"))?;
        let now = self.0.clock.now();
        let mut state = self.state();
        claim_of(&mut state, &members, now)?;
        self.judge_user_rate(&mut state, email)?;
        let claim = claim_of(&mut state, &members, now)?;
        if claim.credential_type.is_some() || matches!(claim.at, Stage::Claimed) {
            let why = "it is claimed, or its user has an e-mail already";
            return Err(no(409, "claimed_or_in_flight", why));
        }
        let attempt = Attempt { id: self.0.rng.token(), email: email.to_owned(), otp: None };
        // The page's own name is for the user's eyes alone.
        let answer = json!({
            "registration_id": claim.registration.id,
            "claim_attempt_id": format!("cla_{}", &token_hash(&attempt.id)[..22]),
            "status": "initiated",
            "expires_at": iso8601(claim.expires_at),
        });
        let registration_id = claim.registration.id.clone();
        claim.at = Stage::Asked(attempt);
        state.note(now, What::Asked { registration_id, email: Some(email.to_owned()) });
        Ok(answer)
    }

    /// "POST /agent/auth/claim/complete": the code that the user read to the agent.
    pub(super) async fn claim_completed(&self, request: Request) -> Result<Value, Refusal> {
        let members = object(&body(request, JSON, self.0.broken).await?)?;
        let now = self.0.clock.now();
        let mut state = self.state();
        state.judge_room(now)?;
        let claim = claim_of(&mut state, &members, now)?;
        let none = || no(400, "otp_not_generated", "the user has not asked for a code yet");
        let (email, otp) = match &mut claim.at {
            Stage::Claimed => return Err(no(409, "previously_claimed", "it is claimed already")),
            Stage::Asked(Attempt { email, otp: Some(otp), .. }) => (email.clone(), otp),
            _ => return Err(none()),
        };
        if now >= otp.expires_at || otp.failures >= MAX_FAILURES {
            return Err(no(
                410,
                "otp_expired",
                "the code is too old, or was wrong too often: the user may ask for another",
            ));
        }
        if !members.text("otp").is_some_and(|code| same(code, &otp.code)) {
            otp.failures += 1;
            return Err(no(401, "otp_invalid", "the code is not the one on the page"));
        }
        let (registration, credential_type) = (claim.registration.clone(), claim.credential_type);
        // The account first: where there is no room for one, nothing has happened.
        let registration = self.owned(&mut state, registration, email)?;
        claim_of(&mut state, &members, now)?.at = Stage::Claimed;
        Ok(self.claimed(&mut state, registration, credential_type, now))
    }

    /// The registration as its user's ("User matching and JIT provisioning"), with all that it may do from now on.
    fn owned(&self, state: &mut State, registration: Registration, email: String) -> Result<Registration, Refusal> {
        let person = Person { email: Some(email), phone_number: None };
        let account = match state.account_of("", "", &person) {
            Match::Linked(account) | Match::Alike(account) => account,
            Match::Nobody => state.add_account(format!("user_{}", &self.0.rng.token()[..16]), person.clone())?,
        };
        Ok(Registration { account: account.id, person, scopes: SCOPES.into_iter().collect(), ..registration })
    }

    fn claimed(
        &self,
        state: &mut State,
        registration: Registration,
        credential_type: Option<&'static str>,
        now: Timestamp,
    ) -> Value {
        let (id, account) = (registration.id.clone(), registration.account.clone());
        let mut answer = json!({"registration_id": id, "status": "claimed"});
        if let Some(credential_type) = credential_type {
            let (credential, expires_at) = self.credential(state, credential_type, registration, now);
            answer["credential_type"] = json!(credential_type);
            answer["credential"] = json!(credential);
            answer["credential_expires"] = json!(expires_at.map(iso8601));
            answer["scopes"] = json!(SCOPES);
        } else {
            // The key that is there already, with more scopes.
            state.rebind(&registration);
        }
        state.note(now, What::Confirmed { registration_id: id, claimed_by_user_id: account });
        answer
    }

    /// An access token or an API key, as v0.1 gives them.
    pub(super) fn credential(
        &self,
        state: &mut State,
        credential_type: &'static str,
        registration: Registration,
        now: Timestamp,
    ) -> (String, Option<Timestamp>) {
        let is_token = credential_type == "access_token";
        let expires_at = is_token.then_some(now + ACCESS_TOKEN_LIFETIME);
        let what = if is_token { Credential::AccessToken } else { Credential::ApiKey };
        let credential = format!("sandbox_{credential_type}_{}", self.0.rng.token());
        state.give(token_hash(&credential), Given { what, registration, expires_at, jkt: None });
        (credential, expires_at)
    }

    /// What the page of an e-mail shows. The code comes by a POST alone, so that no link preview asks for one.
    fn page_of(&self, id: &str, decision: Option<&str>, now: Timestamp) -> Page {
        let mut state = self.state();
        state.lapse(now);
        let code = self.0.rng.bytes::<4>();
        let Some(claim) = state.claims.of_page(id) else { return Page::Expired };
        let Stage::Asked(attempt) = &mut claim.at else { return Page::Expired };
        let registration_id = claim.registration.id.clone();
        match decision {
            None => Page::Offer { attempt: id.to_owned(), whom: page::shown(&attempt.email) },
            Some("yes") => {
                let code = format!("{:06}", u32::from_be_bytes(code) % 1_000_000);
                attempt.otp = Some(Otp { code: code.clone(), expires_at: now + CEREMONY, failures: 0 });
                state.note(now, What::CodeShown { registration_id });
                Page::Code(code)
            }
            Some(_) => {
                // An anonymous one may ask somebody else; one by e-mail is at its end.
                claim.at = if claim.credential_type.is_some() { Stage::Expired } else { Stage::Unclaimed };
                state.note(now, What::Denied { registration_id });
                Page::Denied
            }
        }
    }
}

/// The claim of a token. One that is over says so for a while.
fn claim_of<'s>(state: &'s mut State, members: &Members, now: Timestamp) -> Result<&'s mut Claim, Refusal> {
    state.lapse(now);
    let claim_token = members.text("claim_token").ok_or_else(|| malformed("claim_token is missing"))?;
    let claim = state.claims.0.get_mut(&token_hash(claim_token));
    let claim = claim.ok_or_else(|| no(401, "invalid_claim_token", "claim_token is unknown"))?;
    match claim.at {
        Stage::Expired => Err(no(410, "claim_expired", "nobody claimed it in time, or somebody said no")),
        _ => Ok(claim),
    }
}

fn object(bytes: &[u8]) -> Result<Members, Refusal> {
    serde_json::from_slice(bytes).map_err(|_| malformed("the body is not a JSON object"))
}

/// Where the link of the e-mail leads.
pub(super) async fn ask(Shared(sandbox): Shared<Sandbox>, Path(id): Path<String>) -> Response {
    let now = sandbox.0.clock.now();
    reply::page(page::asked(sandbox.page_of(&id, None, now)))
}

/// What the user says there.
pub(super) async fn answer(Shared(sandbox): Shared<Sandbox>, Path(id): Path<String>, request: Request) -> Response {
    let now = sandbox.0.clock.now();
    if let Some(response) = reply::from_elsewhere(request.headers()) {
        return response;
    }
    let fields = match body(request, FORM, Broken::default()).await.and_then(|bytes| Fields::parse(&bytes)) {
        Ok(fields) => fields,
        Err(refusal) => return reply::error(StatusCode::BAD_REQUEST, "invalid_request", &refusal.message),
    };
    reply::page(page::asked(sandbox.page_of(&id, Some(fields.get("decision").unwrap_or_default()), now)))
}

/// The e-mails that a real service would have sent, for whoever tests without a person.
pub(super) async fn mail(Shared(sandbox): Shared<Sandbox>) -> Response {
    let (now, origin) = (sandbox.0.clock.now(), &sandbox.0.origin);
    let state = sandbox.state();
    let items: Vec<Value> =
        state.claims.mail(now).map(|(to, id)| json!({"to": to, "link": format!("{origin}/claim/{id}")})).collect();
    reply::json(StatusCode::OK, &json!({"items": items}))
}
