//! Where the sandbox is told that a delegation is withdrawn, in four formats: a logout token (auth.md v0.1, "Revocation"), a security event
//! token (RFC 8935), Global Token Revocation, and OpenID Connect Back-Channel Logout.

use axum::extract::Request;
use axum::http::header::AUTHORIZATION;
use serde_json::{Value, json};

use super::Sandbox;
use super::checks::{Check, Checks};
use super::claims::{Context, LEEWAY, MARGIN, malformed};
use super::event::What;
use super::form::{self, FORM, Fields, JSON, body};
use super::members::Members;
use super::reply::Refusal;
use super::state::{Mark, Registration};
use super::token::Token;
use crate::domain::claims::{LOGOUT, REVOKED_EVENT};
use crate::domain::time::{Seconds, Timestamp};
use crate::lab::flaws::{Class, Rule, SECEVENT};

/// The same event by the name that it had before (auth.md, the draft of May 2025).
const REVOKED_BEFORE: &str = "https://schemas.workos.com/events/agent/identity/assertion/revoked";

/// OpenID Connect Back-Channel Logout section 2.4.
const LOGGED_OUT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// `typ` of the token that authorises a Global Token Revocation, where it has one of its own.
const GLOBAL_REVOCATION: &str = "global-token-revocation+jwt";

/// Where such requests go.
pub(super) const GLOBAL_REVOCATION_PATH: &str = "/global-token-revocation";

/// The age of the oldest notice that is taken. One without `exp` would else be good for ever.
const NOTICE_AGE: Seconds = Seconds(600);

/// Of whom a notice speaks.
struct About {
    iss: String,
    /// Whom; nobody where only a session is named.
    sub: String,
}

/// What came of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// So many credentials have ended.
    Ended(usize),
    /// It was told before, or speaks of something else.
    Nothing,
}

impl Sandbox {
    /// A logout token, raw (auth.md v0.1). The reference service takes exactly this media type.
    pub(super) async fn logout_token(&self, request: Request, checks: &mut Checks) -> Result<Heard, Refusal> {
        let body = body(request, form::LOGOUT, self.0.broken).await?;
        self.notice(&body, LOGOUT, checks).await
    }

    /// A security event token, raw (RFC 8935 section 2).
    pub(super) async fn security_event(&self, request: Request, checks: &mut Checks) -> Result<Heard, Refusal> {
        let body = body(request, "application/secevent+jwt", self.0.broken).await?;
        self.notice(&body, SECEVENT, checks).await
    }

    async fn notice(&self, body: &[u8], typ: &'static str, checks: &mut Checks) -> Result<Heard, Refusal> {
        let now = self.0.clock.now();
        checks.ask(Check::Form);
        let token = read(body, self)?;
        checks.read(&token);
        let issuer = self.0.trust.believe(&token, typ, checks, now).await?;
        let context = self.context(&token.claims, now);
        checks.ask(Check::Audience);
        context.audience()?;
        checks.ask(Check::Recent);
        let until = timely(&context)?;
        checks.ask(Check::Jti);
        let mark = context.jti()?.map(|jti| Mark::new(issuer.as_str(), jti, until));
        checks.ask(Check::Subject);
        let sub = context.subject()?.to_owned();
        checks.ask(Check::Events);
        let concerns = about_us(&context, typ, &[REVOKED_EVENT, REVOKED_BEFORE])?;
        checks.ask(Check::Jti);
        if let Some(heard) = self.heard_before(mark, typ, now)? {
            return Ok(heard);
        }
        if !concerns {
            return Ok(Heard::Nothing);
        }
        Ok(self.end(&About { iss: issuer.as_str().to_owned(), sub }, typ, now))
    }

    /// Ends the tokens of whom a JSON body names, by order of whoever signed the token in the header (draft-parecki-oauth-global-token-revocation
    /// section 3).
    pub(super) async fn global_revocation(&self, request: Request, checks: &mut Checks) -> Result<Heard, Refusal> {
        let now = self.0.clock.now();
        let no = |why: &'static str| Refusal::coded(401, "invalid_token", why);
        let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer = header.and_then(|value| value.split_once(' ')).filter(|(s, _)| s.eq_ignore_ascii_case("bearer"));
        let (_, bearer) = bearer.ok_or_else(|| no("a signed token of the issuer is needed"))?;
        checks.ask(Check::Form);
        let token = Token::read(bearer.trim(), self.0.broken).map_err(|_| no("the token is no JWT"))?;
        checks.read(&token);
        let typ = if token.typ() == Some(GLOBAL_REVOCATION) { GLOBAL_REVOCATION } else { "JWT" };
        let issuer = self.0.trust.believe(&token, typ, checks, now).await.map_err(|refusal| match refusal.class {
            // Nobody's fault but the network's: it comes again.
            Class::Unavailable => refusal,
            _ => Refusal { code: Some((401, "invalid_token")), ..refusal },
        })?;
        let context = self.context(&token.claims, now);
        // Meant for the endpoint, as any client's assertion may be (section 3.5), or for the service.
        let endpoint = format!("{}{GLOBAL_REVOCATION_PATH}", self.0.origin);
        checks.ask(Check::Audience);
        if token.claims.text("aud") != Some(&endpoint) {
            context.audience().map_err(|_| no("the token is meant for another service"))?;
        }
        checks.ask(Check::Times);
        let until = context.times()?;
        checks.ask(Check::Jti);
        let mark = context.jti()?.map(|jti| Mark::new(issuer.as_str(), jti, until));
        checks.ask(Check::SecondName);
        let bytes = body(request, JSON, self.0.broken).await?;
        let members: Members =
            serde_json::from_slice(&bytes).map_err(|_| malformed("the body is not a JSON object"))?;
        let about = named(members.get("sub_id").or(members.get("subject")), issuer.as_str())?;
        checks.ask(Check::Jti);
        if mark.as_ref().is_some_and(|mark| self.state().is_used(mark, now)) {
            return Err(no("this token was used before"));
        }
        self.heard_before(mark, GLOBAL_REVOCATION, now)?;
        Ok(self.end(&about, "global-token-revocation", now))
    }

    /// A logout token in a form, as an OpenID Provider sends it (OpenID Connect Back-Channel Logout sections 2.5 and 2.6). This service is
    /// a relying party of its issuers by its own name, or by a name that was given to it.
    pub(super) async fn back_channel(&self, request: Request, checks: &mut Checks) -> Result<Heard, Refusal> {
        let now = self.0.clock.now();
        let form = Fields::parse(&body(request, FORM, self.0.broken).await?)?;
        let token = form.get("logout_token").ok_or_else(|| malformed("logout_token is missing"))?;
        checks.ask(Check::Form);
        let token = Token::read(token, self.0.broken)?;
        checks.read(&token);
        let issuer = self.0.trust.believe(&token, LOGOUT, checks, now).await?;
        let mut context = self.context(&token.claims, now);
        if let Some(client_id) = &self.0.relying_party {
            context.origin = client_id;
        }
        checks.ask(Check::Audience);
        context.audience()?;
        checks.ask(Check::Recent);
        let until = timely(&context)?;
        if context.time("exp")?.is_none() {
            return Err(malformed("exp is missing"));
        }
        checks.ask(Check::Jti);
        let mark = context.jti()?.map(|jti| Mark::new(issuer.as_str(), jti, until));
        checks.ask(Check::Events);
        about_us(&context, LOGOUT, &[LOGGED_OUT])?;
        checks.ask(Check::Subject);
        let (sub, sid) = (token.claims.text("sub"), token.claims.text("sid"));
        if sub.is_none() && sid.is_none() {
            return Err(malformed("neither sub nor sid is there"));
        }
        let about = About { iss: issuer.as_str().to_owned(), sub: sub.unwrap_or_default().to_owned() };
        checks.ask(Check::Jti);
        if let Some(heard) = self.heard_before(mark, "back-channel", now)? {
            return Ok(heard);
        }
        Ok(self.end(&about, "oidc-back-channel-logout", now))
    }

    /// Whether a notice was here before. A security event is acknowledged again (RFC 8935 section 2); the others are refused.
    fn heard_before(&self, mark: Option<Mark>, format: &str, now: Timestamp) -> Result<Option<Heard>, Refusal> {
        let Some(mark) = mark else { return Ok(None) };
        let mut state = self.state();
        if state.is_used(&mark, now) && !self.0.broken.lacks(Rule::NoJtiMemory) {
            return match format {
                SECEVENT => Ok(Some(Heard::Nothing)),
                _ => Refusal::because(Class::Replay, "this jti was used before"),
            };
        }
        // Notices have as much room again, so that no flood of assertions keeps a revocation out.
        let most = state.most * 2;
        state.spend(mark, most, now)?;
        Ok(None)
    }

    /// Ends every credential of whom a notice speaks. A user nobody knows here is answered like one without credentials.
    fn end(&self, about: &About, format: &'static str, now: Timestamp) -> Heard {
        let About { iss, sub } = about;
        let everybody = self.0.broken.lacks(Rule::RevokeEveryUser);
        let theirs = |r: &Registration| r.iss == *iss && (everybody || r.sub == *sub);
        let id = super::state::registration_id(iss, sub, &self.0.origin);
        let mut state = self.state();
        let credentials = if self.0.broken.lacks(Rule::IgnoreRevocation) { 0 } else { state.end_all(theirs, now) };
        tracing::info!(iss = ?iss, sub = ?sub, registration_id = id, format, credentials, "revoked");
        let (iss, sub) = (iss.clone(), sub.clone());
        state.note(now, What::Revoked { registration_id: id, iss, sub, format, credentials });
        Heard::Ended(credentials)
    }
}

fn read(body: &[u8], sandbox: &Sandbox) -> Result<Token, Refusal> {
    let text = std::str::from_utf8(body).map_err(|_| malformed("the body is no JWT"))?;
    Token::read(text.trim(), sandbox.0.broken)
}

/// A notice is recent, and has not ended where it says when it does. The answer is until when its `jti` must be remembered.
fn timely(context: &Context<'_>) -> Result<Timestamp, Refusal> {
    let now = context.now;
    let old = |iat: Timestamp| now - iat > NOTICE_AGE && !context.lacks(Rule::AcceptExpired);
    if context.issued()?.is_some_and(old) {
        return Err(malformed("iat is more than ten minutes ago"));
    }
    if context.time("exp")?.is_some_and(|exp| exp + LEEWAY <= now) && !context.lacks(Rule::AcceptExpired) {
        return Err(malformed("the notice has expired"));
    }
    // OpenID Connect Back-Channel Logout section 2.4: so that it can never pass for an ID token.
    if context.claims.get("nonce").is_some() && !context.lacks(Rule::AcceptClaimsOfOtherTokens) {
        return Err(malformed("nonce is prohibited in a notice"));
    }
    Ok(now + NOTICE_AGE + LEEWAY + MARGIN)
}

/// Whether a notice is about what this endpoint is for (RFC 8417 section 2.2). Of security events, others are acknowledged as well.
fn about_us(context: &Context<'_>, typ: &str, events: &[&str]) -> Result<bool, Refusal> {
    if context.lacks(Rule::IgnoreEvents) {
        return Ok(true);
    }
    let Some(Value::Object(told)) = context.claims.get("events").filter(|told| told.is_object()) else {
        return Err(malformed("events must be an object"));
    };
    if told.is_empty() || !told.values().all(Value::is_object) {
        return Err(malformed("events must hold events, each of which is an object"));
    }
    let ours = events.iter().any(|event| told.contains_key(*event));
    if !ours && typ != SECEVENT {
        return Err(malformed("events does not hold the event that is taken here"));
    }
    Ok(ours)
}

/// Whom a subject identifier names (RFC 9493 section 3.2), of the users of the issuer that says so.
fn named(id: Option<&Value>, issuer: &str) -> Result<About, Refusal> {
    let id = id.ok_or_else(|| malformed("sub_id is missing"))?;
    let text = |name: &str| id.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let unknown =
        || Refusal::coded(422, "invalid_request", "sub_id has a format that is not supported, or lacks a member");
    match text("format").as_deref() {
        Some("iss_sub") => {
            let about = About { iss: text("iss").ok_or_else(unknown)?, sub: text("sub").ok_or_else(unknown)? };
            if about.iss == issuer {
                Ok(about)
            } else {
                Err(Refusal::coded(403, "access_denied", "sub_id names another issuer's user"))
            }
        }
        Some("opaque") => Ok(About { iss: issuer.to_owned(), sub: text("id").ok_or_else(unknown)? }),
        _ => Err(unknown()),
    }
}

impl Heard {
    /// As v0.1's reference service says it.
    pub(super) fn counted(self) -> Value {
        let Self::Ended(credentials) = self else { return json!({"revoked": 0}) };
        json!({"revoked": credentials})
    }
}
