//! The decision of a token exchange to an ID-JAG (RFC 8693; ID-JAG draft section 4.3.3): pure, given request and facts.

use super::claims::{ASSERTION_LIFETIME, IdJag, OneOrMany};
use super::client::Client;
use super::client_metadata::TOKEN_EXCHANGE;
use super::consent::{Consent, ConsentQuery, Mode, applicable_consent};
use super::disclosure::{ClaimSet, disclosed};
use super::ids::{AccountId, Audience, ClientId, ClientKey, IssuerUrl, Jti, Subject, is_web};
use super::refusal::Refusal;
use super::rotation::SigningAlg;
use super::scope::Scope;
use super::service::Service;
use super::service_policy::{Claim, ClientIdSource};
use super::session::{self, Account};
use super::time::Timestamp;
use super::understood::is_slash_apart;

/// The kinds of subject token that are taken (RFC 8693 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubjectTokenType {
    /// `urn:ietf:params:oauth:token-type:id_token`
    IdToken,
    /// `urn:ietf:params:oauth:token-type:access_token`
    AccessToken,
}

/// What the agent asks for, parsed.
#[derive(Clone, Debug)]
pub struct Request {
    /// The one audience, as the service spells it.
    pub audience: Audience,
    /// As the agent spelled it, where that differs by a slash at the end.
    pub asked_as: Option<Audience>,
    /// Sorted, without repetitions.
    pub resources: Vec<String>,
    /// `None` when the request had no `scope`.
    pub scope: Option<Scope>,
    /// auth.md: the platform the agent runs on.
    pub agent_platform: Option<String>,
    /// auth.md: the chat or task.
    pub agent_context_id: Option<String>,
}

impl Request {
    /// What makes two requests the same question: user, session, client, audience, resource, scope and agent context, as one text.
    ///
    /// # Panics
    /// Never: texts are JSON.
    #[must_use]
    pub fn key(&self, account_id: &AccountId, session_id: &str, client: &ClientKey) -> String {
        let scope = self.scope.as_ref().map(ToString::to_string);
        let (aud, resources) = (self.audience.as_str(), &self.resources);
        let (platform, context) = (&self.agent_platform, &self.agent_context_id);
        let asked = (account_id, session_id, client, aud, resources, scope, platform, context);
        serde_json::to_string(&asked).expect("texts are JSON")
    }
}

impl Request {
    /// The decision that stands for this request: of those that still give something of what the service has. `request_key` is the hash of
    /// [`Request::key`], and `claims` what would leave.
    #[must_use]
    pub fn answered_by<'a>(
        &self,
        consents: &'a [Consent],
        (request_key, claims): (&str, ClaimSet),
        service: &Service,
        now: Timestamp,
    ) -> Option<&'a Consent> {
        let (scope, resources, shown) = (self.scope.as_ref(), &self.resources, service.shown.as_deref());
        let query = ConsentQuery { request_key, scope, resources, claims, shown };
        let gives = |c: &&Consent| c.mode == Mode::Denied || Given::of(self, c, service).is_some();
        applicable_consent(&consents.iter().filter(gives), query, now)
    }
}

/// What the decision rests on: rows of the transaction that writes down what comes of it.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Who is vouched for; alive, as are the session and the tokens that the subject token belongs to.
    pub account: &'a Account,
    /// When they really signed in last.
    pub auth_time: Timestamp,
    /// Who asks.
    pub client: &'a Client,
    /// Whom it is for.
    pub service: &'a Service,
    /// The user's decisions for this client and service.
    pub consents: &'a [Consent],
    /// The delegation to this service, if there ever was one.
    pub record: Option<&'a Record>,
    /// The provider's own CIMD URL.
    pub provider_client_id: &'a ClientId,
    /// The issuer.
    pub issuer: &'a IssuerUrl,
    /// Where the issuers of this server are.
    pub root: &'a IssuerUrl,
}

/// What a mint needs of a delegation.
#[derive(Clone, Debug)]
pub struct Record {
    /// Our own key.
    pub id: String,
    /// The user's name at the service, as first emitted: it never changes.
    pub sub: Subject,
    /// Whether it is over.
    pub ended: bool,
}

/// What was decided.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Sign this, once the use of the consent is written down.
    Mint(Box<Grant>),
    /// The user has to be asked first.
    Ask {
        /// What the service would learn of them.
        claims: ClaimSet,
    },
}

/// A covered request.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The consent that covers it.
    pub consent_id: String,
    /// Whether this use ends it.
    pub once: bool,
    /// The record it belongs to.
    pub delegation_id: String,
    /// What will be signed.
    pub claims: IdJag,
    /// With what.
    pub alg: SigningAlg,
}

/// Decides, in this order: grant, ceiling, resource, scope, what the service needs, age of the sign-in, consent. `jti` is what the assertion
/// will carry; `request_key` the hash of [`Request::key`].
///
/// # Errors
/// The first rule that says no.
pub fn decide(
    request: &Request,
    facts: Facts<'_>,
    request_key: &str,
    jti: &Jti,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let Facts { account, auth_time, client, .. } = facts;
    let service = &facts.service.policy;
    admit(request, client, (facts.issuer, facts.root), facts.service.source.is_operators())?;
    if service.resources.is_empty() && !request.resources.iter().all(|uri| is_web(uri)) {
        return Err(Refusal::ResourceMalformed("it must be http or https"));
    }
    if !request.resources.iter().all(|uri| facts.service.guards(uri)) {
        return Err(Refusal::ResourceNotOfAudience);
    }
    if let Some(unknown) = request.scope.iter().flat_map(Scope::iter).find(|token| !has(&service.scopes, token)) {
        return Err(Refusal::ScopeNotGrantable(unknown.to_owned()));
    }
    if service.requires_verified_contact && !account.has_verified_contact() {
        return Err(Refusal::NoVerifiedContact);
    }
    if session::is_ahead(auth_time, now) {
        return Err(Refusal::SignInAhead);
    }
    if let Some(max_age) = service.max_auth_age.filter(|max| now - auth_time > *max) {
        return Err(Refusal::StepUp { max_age });
    }
    let claims = disclosed(service, account);
    let ask = Ok(Decision::Ask { claims });
    let Some(consent) = request.answered_by(facts.consents, (request_key, claims), facts.service, now) else {
        return ask;
    };
    if consent.mode == Mode::Denied {
        return Err(Refusal::Denied);
    }
    // A consent without its record, or under one that has ended, would be a broken row: nothing is minted under it.
    let record = facts.record.filter(|r| !r.ended && consent.delegation_id.as_ref() == Some(&r.id));
    let Some(record) = record else { return ask };
    let Some(given) = Given::of(request, consent, facts.service) else { return ask };
    let claims = id_jag(request, facts, (claims, given), record, jti, now);
    if claims.is_too_long() {
        return Err(Refusal::AssertionTooLong);
    }
    Ok(Decision::Mint(Box::new(Grant {
        alg: service.signing_alg,
        consent_id: consent.id.clone(),
        once: consent.mode == Mode::Once,
        delegation_id: record.id.clone(),
        claims,
    })))
}

/// Judges grant and ceiling: all that can be judged before anything is known of the service, and is before anybody looks at it. `declared`:
/// an operator says that it is one.
///
/// # Errors
/// [`Refusal::GrantTypeNotAllowed`], [`Refusal::AudienceOwn`], [`Refusal::AudienceNotAllowed`].
pub fn admit(
    request: &Request,
    client: &Client,
    (issuer, root): (&IssuerUrl, &IssuerUrl),
    declared: bool,
) -> Result<(), Refusal> {
    if !client.may_use(TOKEN_EXCHANGE) {
        return Err(Refusal::GrantTypeNotAllowed);
    }
    // Another issuer of this server is another domain only if somebody said so (ID-JAG draft section 9.3); this one never is.
    if request.audience.names(issuer) || (!declared && request.audience.is_at_or_under(root)) {
        return Err(Refusal::AudienceOwn);
    }
    let alias = request.asked_as.as_ref().filter(|asked| is_slash_apart(asked.as_str(), request.audience.as_str()));
    if !client.may_ask_for(&request.audience) && !alias.is_some_and(|asked| client.may_ask_for(asked)) {
        return Err(Refusal::AudienceNotAllowed);
    }
    Ok(())
}

/// What a consent gives to a request, of what the service still has.
struct Given {
    scope: Scope,
    resources: Vec<String>,
}

impl Given {
    /// `None` where something was agreed to and nothing is left of it: named by no scope or resource, an assertion would be good for
    /// whatever the service likes.
    fn of(request: &Request, consent: &Consent, service: &Service) -> Option<Self> {
        let agreed = request.scope.as_ref().map_or_else(|| consent.scope.clone(), |asked| asked.and(&consent.scope));
        let scope: Scope = agreed.iter().filter(|token| has(&service.policy.scopes, token)).collect();
        let wanted = if request.resources.is_empty() { &consent.resources } else { &request.resources };
        let resources: Vec<_> = wanted.iter().filter(|uri| service.guards(uri)).cloned().collect();
        let left = (agreed.is_empty() || !scope.is_empty()) && (wanted.is_empty() || !resources.is_empty());
        left.then_some(Self { scope, resources })
    }
}

/// Whether a service has something, by a list that is empty where nobody knows.
fn has(known: &[String], name: &str) -> bool {
    known.is_empty() || known.iter().any(|one| one == name)
}

fn id_jag(
    request: &Request,
    facts: Facts<'_>,
    (claims, given): (ClaimSet, Given),
    record: &Record,
    jti: &Jti,
    now: Timestamp,
) -> IdJag {
    let Facts { account, auth_time, client, service, .. } = facts;
    IdJag {
        iss: facts.issuer.as_str().to_owned(),
        sub: record.sub.clone(),
        aud: request.audience.as_str().to_owned(),
        client_id: client_id_at(client, service, facts.provider_client_id),
        jti: jti.clone(),
        iat: now,
        exp: now + ASSERTION_LIFETIME,
        // Another server's clock may be a little ahead, and no service takes a sign-in after `iat`.
        auth_time: auth_time.min(now),
        email: claims.has(Claim::Email).then(|| account.email.clone()),
        email_verified: claims.has(Claim::EmailVerified).then_some(true),
        name: account.name.clone().filter(|_| claims.has(Claim::Name)),
        phone_number_verified: claims.has(Claim::PhoneNumberVerified).then_some(true),
        phone_number: account.phone_number.clone().filter(|_| claims.has(Claim::PhoneNumber)),
        amr: claims.has(Claim::Amr).then(|| vec!["pwd".to_owned()]),
        resource: OneOrMany::of(given.resources),
        scope: (!given.scope.is_empty()).then(|| given.scope.to_string()),
        agent_platform: request.agent_platform.clone(),
        agent_context_id: request.agent_context_id.clone(),
    }
}

/// The client's identifier at the service: what was configured, else whichever the service knows.
fn client_id_at(client: &Client, service: &Service, provider_client_id: &ClientId) -> ClientId {
    if let Some(mapped) = service.policy.client_ids.get(&client.client_id) {
        return mapped.clone();
    }
    match service.policy.client_id_source {
        ClientIdSource::Provider => provider_client_id.clone(),
        ClientIdSource::Client => client.client_id.clone(),
    }
}

#[cfg(test)]
mod tests;
