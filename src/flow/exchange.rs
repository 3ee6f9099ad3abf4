//! Token exchange to an ID-JAG (RFC 8693; ID-JAG draft section 4.3): facts, decision, take, signature.

use std::sync::Arc;

use crate::app::{App, Basis};
use crate::domain::claims::{ASSERTION_LIFETIME, IdJag, IdToken};
use crate::domain::consent::{ConsentQuery, MAX_OPEN_TICKETS, POLL_INTERVAL, TICKET_LIFETIME, applicable_consent};
use crate::domain::exchange::{Decision, Facts, Grant, Request, SubjectTokenType, decide};
use crate::domain::refusal::Refusal;
use crate::domain::service::Service;
use crate::error::Error;
use crate::flow::client_auth::AuthenticatedClient;
use crate::jose::{Keyring, Unverified};
use crate::secret::{Secret, sha256, token_hash};
use crate::store::{Subject, Take, Ticket};

/// What comes of it.
#[derive(Debug)]
pub struct Minted {
    /// The ID-JAG.
    pub assertion: Secret,
    /// Seconds.
    pub expires_in: i64,
    /// To be told the client: when it asked for one, or got less than it might expect.
    pub scope: Option<String>,
}

/// How often a mint decides anew because what it rested on had changed.
const TRIES: usize = 3;

/// Mints an assertion for an authenticated client.
///
/// # Errors
/// [`Refusal`]s of [`decide`]; [`Refusal::SubjectToken`]; [`Refusal::ConsentRequired`] and [`Refusal::SlowDown`] while the user is asked.
pub async fn run(
    app: &App,
    client: &AuthenticatedClient,
    subject_token: &Secret,
    kind: SubjectTokenType,
    request: &Request,
) -> Result<Minted, Error> {
    let cache_key =
        (client.client_id.clone(), kind, token_hash(subject_token.expose()), request.audience.as_str().to_owned());
    let mut fresh = false;
    for _ in 0..TRIES {
        let (changes, now) = (app.store.changes(), app.now());
        // Facts about another state of the client than the one that authenticated are as good as none.
        let same_client = |basis: &Arc<Basis>| basis.facts.client.version == client.version;
        let cached = app.facts.get(&cache_key, changes, now);
        let cached = cached.filter(|basis| !fresh && basis.subject.expires_at > now && same_client(basis));
        let was_cached = cached.is_some();
        let basis = match cached {
            Some(basis) => basis,
            None => Arc::new(read(app, client, subject_token, kind, request, now).await?),
        };
        let request_key =
            sha256(request.key(&basis.subject.account.id, &basis.subject.session.id, &client.id).as_bytes());
        let jti = app.rng.jti();
        let decision = match decide(request, &basis.facts, &request_key, &jti, now) {
            // Only what was just read may refuse.
            Err(_) | Ok(Decision::Ask) if was_cached => {
                fresh = true;
                continue;
            }
            decision => decision?,
        };
        let Decision::Mint(grant) = decision else {
            if let Some(refusal) = ask(app, &basis, request, &request_key, now).await? {
                return Err(refusal.into());
            }
            // The user answered while we were about to ask.
            fresh = true;
            continue;
        };
        if !was_cached {
            app.facts.put(cache_key.clone(), basis.clone(), changes, now);
        }
        grant.claims.check(app.issuer.as_str(), now).map_err(Error::invariant)?;
        let ring = app.keyring();
        if app.store.take(take(app.id(), &basis, &grant, &ring, request, now)).await? {
            return minted(app, &ring, request, &grant.claims);
        }
        // Something the decision rested on is no longer so: withdrawn, used, disabled, changed, or the key is no longer the one.
        fresh = true;
        crate::flow::setup::reload_keys(app).await?;
    }
    Err(Refusal::Busy.into())
}

fn minted(app: &App, ring: &Keyring, request: &Request, claims: &IdJag) -> Result<Minted, Error> {
    let assertion = Secret::new(app.sign_assertion(ring, claims)?);
    let told = request.scope.is_some() || claims.scope.is_some();
    let scope = told.then(|| claims.scope.clone()).flatten();
    Ok(Minted { assertion, expires_in: claims.exp - claims.iat, scope })
}

fn take(entry_id: String, basis: &Basis, grant: &Grant, ring: &Keyring, request: &Request, now: i64) -> Take {
    let Basis { subject, facts } = basis;
    let claims = &grant.claims;
    Take {
        consent_id: grant.consent_id.clone(),
        delegation_id: grant.delegation_id.clone(),
        account_id: subject.account.id.clone(),
        account_version: subject.account.version,
        client_id: facts.client.id.clone(),
        client_version: facts.client.version,
        session_id: subject.session.id.clone(),
        auth_time: claims.auth_time,
        family_id: subject.family_id.clone(),
        service_version: facts.service.version,
        asked_scope: request.scope.as_ref().map(ToString::to_string).unwrap_or_default(),
        resources: request.resources.clone(),
        kid: ring.active.kid().to_owned(),
        jti: claims.jti.clone(),
        at: now,
        exp: now + ASSERTION_LIFETIME,
        entry_id,
        body: serde_json::json!({
            "sub": claims.sub, "aud": claims.aud, "exp": claims.exp, "kid": ring.active.kid(), "scope": claims.scope, "resource": claims.resource,
            "agent_platform": request.agent_platform, "agent_context_id": request.agent_context_id,
        }),
    }
}

/// Reads what the decision rests on.
async fn read(
    app: &App,
    client: &AuthenticatedClient,
    token: &Secret,
    kind: SubjectTokenType,
    request: &Request,
    now: i64,
) -> Result<Basis, Error> {
    let subject = match kind {
        SubjectTokenType::AccessToken => by_access_token(app, client, token, now).await?,
        SubjectTokenType::IdToken => by_id_token(app, client, token, now).await?,
    };
    let aud = request.audience.as_str();
    let mut tx = app.store.read().await?;
    // Read again rather than taken from the cache of clients: its version is what the take will compare.
    let current = tx.client(&client.client_id).await?;
    // Nor may a credential count that another replica has replaced since.
    let client = current.filter(|c| c.same_credentials(client)).ok_or(Refusal::ClientAuthenticationFailed)?;
    let service = match tx.service(aud).await? {
        Some(service) => service,
        None if tx.service_is_disabled(aud).await? => return Err(Refusal::AudienceNotAllowed.into()),
        None => Service::unknown(request.audience.clone()),
    };
    let consents = tx.consents(&subject.account.id, aud, &client.id).await?;
    let emitted = tx.delegation_for(&subject.account.id, aud).await?;
    let facts = Facts {
        sub: emitted.map_or_else(|| subject.account.sub.clone(), |d| d.sub),
        account: subject.account.clone(),
        session: subject.session.clone(),
        client,
        service,
        consents,
        provider_client_id: app.cimd_url(),
        issuer: app.issuer.as_str().to_owned(),
    };
    Ok(Basis { subject, facts })
}

async fn by_access_token(app: &App, client: &AuthenticatedClient, token: &Secret, now: i64) -> Result<Subject, Error> {
    let found = app.store.read().await?.subject_by_access_token(&token_hash(token.expose()), now).await?;
    // Another client's token is as good as none: who holds it learns nothing.
    found
        .filter(|s| s.client_id == client.id)
        .ok_or(Refusal::SubjectToken("it is not a valid access token of this client").into())
}

/// An ID token of ours, for this client (ID-JAG draft section 4.3, rule 11).
async fn by_id_token(app: &App, client: &AuthenticatedClient, token: &Secret, now: i64) -> Result<Subject, Error> {
    let refuse = |why| Error::Refused(Refusal::SubjectToken(why));
    let unverified = Unverified::parse(token.expose()).map_err(|e| refuse(e.0))?;
    let ring = app.keyring();
    let key = ring.published.iter().find(|(kid, _)| Some(kid.as_str()) == unverified.kid());
    let (_, key) = key.ok_or(refuse("it is not signed by a key of this issuer"))?;
    let claims: IdToken = unverified.verify(key, None).map_err(|e| refuse(e.0))?;
    if claims.iss != app.issuer.as_str() {
        return Err(refuse("it is not an ID token of this issuer"));
    }
    if claims.aud != client.client_id {
        return Err(refuse("it was not issued to this client"));
    }
    if claims.exp <= now {
        return Err(refuse("it has expired"));
    }
    let found = app.store.read().await?.subject_by_session(&claims.sid, &claims.sub, &client.id, now).await?;
    let mut subject = found.ok_or(refuse("its session, or what it was issued with, is over"))?;
    subject.expires_at = claims.exp;
    Ok(subject)
}

/// Finds or asks the question of this request, and says what to tell the agent; `None` when the user has decided in the meantime.
async fn ask(
    app: &App,
    basis: &Basis,
    request: &Request,
    request_key: &str,
    now: i64,
) -> Result<Option<Refusal>, Error> {
    let Basis { subject, facts } = basis;
    let required = |ticket: &Ticket| Refusal::ConsentRequired {
        consent_uri: app.issuer.at(&format!("/consent/{}", ticket.id)),
        expires_in: ticket.expires_at - now,
        interval: POLL_INTERVAL,
    };
    let slow_down = Refusal::SlowDown { interval: POLL_INTERVAL };
    let (account_id, client_id, aud) = (&subject.account.id, &facts.client.id, request.audience.as_str());
    let mut tx = app.store.begin().await?;
    tx.lock_account(account_id).await?;
    // An answer references the account, so under the lock it is here or has not happened: without this look a question that was answered
    // a moment ago would be asked a second time.
    let query = ConsentQuery { request_key, scope: request.scope.as_ref(), resources: &request.resources };
    if applicable_consent(&tx.consents(account_id, aud, client_id).await?, query, now).is_some() {
        return Ok(None);
    }
    tx.close_expired_ticket(request_key, now).await?;
    if let Some(ticket) = tx.open_ticket(request_key).await? {
        if now - ticket.polled_at < POLL_INTERVAL {
            return Ok(Some(slow_down));
        }
        tx.polled(&ticket.id, now).await?;
        tx.commit().await?;
        return Ok(Some(required(&ticket)));
    }
    let open = tx.open_tickets(account_id, now).await?;
    let of_client = open.iter().filter(|t| t.client_id == *client_id).count();
    if i64::try_from(of_client).unwrap_or(i64::MAX) >= MAX_OPEN_TICKETS {
        return Ok(Some(Refusal::TooManyQuestions));
    }
    let ticket = Ticket {
        id: app.rng.token(),
        request_key: request_key.to_owned(),
        account_id: account_id.clone(),
        session_id: subject.session.id.clone(),
        client_id: client_id.clone(),
        aud: aud.to_owned(),
        scope: request.scope.clone().unwrap_or_default(),
        resources: request.resources.clone(),
        agent_platform: request.agent_platform.clone(),
        agent_context_id: request.agent_context_id.clone(),
        created_at: now,
        expires_at: now + TICKET_LIFETIME,
        polled_at: now,
        closed_at: None,
        consent_id: None,
    };
    if !tx.add_ticket(&ticket).await? {
        return Ok(Some(slow_down));
    }
    tx.commit().await?;
    Ok(Some(required(&ticket)))
}
