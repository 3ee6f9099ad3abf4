//! Token exchange to an ID-JAG (RFC 8693; ID-JAG draft section 4.3): what needs no row, the batch that decides, the signature.

use std::sync::Arc;

use crate::domain::claims::{IdJag, OneOrMany};
use crate::domain::client::Client;
use crate::domain::consent::{MAX_OPEN_TICKETS, POLL_INTERVAL, TICKET_LIFETIME, denied_lately};
use crate::domain::exchange::{Request, SubjectTokenType};
use crate::domain::refusal::{OpenQuestion, Refusal};
use crate::domain::rotation::SigningAlg;
use crate::domain::ticket::Ticket;
use crate::domain::time::Seconds;
use crate::error::Error;
use crate::flow::client_auth::{self, ProvenClient};
use crate::flow::{id_token, issuers, keyring, look, services};
use crate::host::App;
use crate::jose::SigningKey;
use crate::meters;
use crate::secret::{Secret, token_hash};
use crate::store::{Mint, Outcome, SubjectToken, Unanswered};

/// What comes of it.
#[derive(Debug)]
pub struct Minted {
    /// The ID-JAG.
    pub assertion: Secret,
    /// Seconds.
    pub expires_in: Seconds,
    /// To be told the client: when it asked for one, or got less than it might expect.
    pub scope: Option<String>,
    /// As in the claim.
    pub resource: Option<OneOrMany>,
}

/// How often a mint is submitted: what it was prepared for may have changed meanwhile, or nobody had looked at the service.
const TRIES: usize = 4;

/// Mints an assertion for a client that has proved who it is.
///
/// # Errors
/// [`Refusal`]s of [`decide`](crate::domain::exchange::decide); [`Refusal::ClientAssertion`], [`Refusal::SubjectToken`];
/// [`Refusal::ConsentRequired`] and [`Refusal::SlowDown`] while the user is asked.
pub async fn run(
    app: &App,
    client: ProvenClient,
    subject_token: &Secret,
    kind: SubjectTokenType,
    request: Request,
) -> Result<Minted, Error> {
    let subject = match kind {
        SubjectTokenType::AccessToken => Ok(SubjectToken::Access { hash: token_hash(subject_token.expose()) }),
        SubjectTokenType::IdToken => by_id_token(app, &client, subject_token),
    };
    let subject = match subject {
        Ok(subject) => subject,
        Err(refusal) => {
            client.spend(app).await?;
            return Err(refusal.into());
        }
    };
    let mut request = Arc::new(request);
    let mut looked = false;
    let (registered, mut unspent) = client.into_parts();
    let mut client = registered.client.clone();
    let mut app = app.clone();
    // What seldom happens is on the heap: a mint would hold ten kilobytes for it.
    for _ in 0..TRIES {
        let ring = &app.issuer.ring;
        let mint = Mint {
            client: client.clone(),
            subject: subject.clone(),
            request: request.clone(),
            issuer: app.issuer.url.clone(),
            root: app.host.root.clone(),
            provider_client_id: app.issuer.client_id.clone(),
            kid: ring.active.kid().clone(),
            rs256_kid: ring.signer(SigningAlg::Rs256).map(|key| key.kid().clone()),
            jti: app.rng.jti(),
            entry_id: app.id(),
            now: app.now(),
        };
        match app.store.mint(mint, unspent.take()).await? {
            Outcome::Minted(claims, alg) => return minted(&app, ring.signer(alg), &request, &claims).await,
            Outcome::Refused(refusal) => {
                return Err(Box::pin(said_better(&app, refusal, &subject, (&client, &request))).await?.into());
            }
            Outcome::Unknown => {
                let spelling = Box::pin(look::first(&app, &client.key, &request.audience)).await?;
                if spelling != request.audience {
                    let asked_as = Some(request.audience.clone());
                    request = Arc::new(Request { audience: spelling, asked_as, ..(*request).clone() });
                }
                looked = true;
            }
            Outcome::Ask(unanswered) if !looked && !unanswered.is_declared => {
                looked = true;
                if !Box::pin(look::before_asking(&app, &client.key, &request.audience)).await?
                    && let Some(refusal) = Box::pin(ask(&app, &unanswered, &client, &request)).await?
                {
                    return Err(refusal.into());
                }
            }
            Outcome::Ask(unanswered) => {
                if let Some(refusal) = Box::pin(ask(&app, &unanswered, &client, &request)).await? {
                    return Err(refusal.into());
                }
            }
            Outcome::ClientChanged => client = Box::pin(client_auth::again(&app, &client)).await?,
            Outcome::IssuerChanged => app = Box::pin(issuers::reload(&app)).await?,
        }
    }
    Err(Refusal::Busy.into())
}

/// Says more of a refusal that the agent or its maker can do something about. Here, so that nobody else in the batch waits for it.
async fn said_better(
    app: &App,
    refusal: Refusal,
    subject: &SubjectToken,
    (client, request): (&Client, &Request),
) -> Result<Refusal, Error> {
    Ok(match (&refusal, subject) {
        (Refusal::AudienceNotAllowed, _) => {
            let meant = client.spelling_of(&request.audience);
            meant.map_or(refusal, |meant| Refusal::AudienceMisspelt(meant.to_owned()))
        }
        (Refusal::TakesNoIdJags(_), _) => {
            let known = app.store.read().await?.discovery(request.audience.as_str()).await?;
            Refusal::TakesNoIdJags(known.and_then(|known| known.understood.takes_instead))
        }
        (Refusal::SubjectToken(_), SubjectToken::Access { hash })
            if app.store.read().await?.session_is_over(hash, &client.key, app.now()).await? =>
        {
            Refusal::SubjectToken("its session is over: the user has to sign in again")
        }
        _ => refusal,
    })
}

async fn minted(app: &App, key: Option<&Arc<SigningKey>>, request: &Request, claims: &IdJag) -> Result<Minted, Error> {
    let key = key.ok_or(Error::invariant("what was minted was minted for a key that is at hand"))?;
    let assertion = Secret::new(keyring::sign_assertion(app, key, claims).await?);
    let told = request.scope.is_some() || claims.scope.is_some();
    let scope = told.then(|| claims.scope.clone()).flatten();
    meters::minted();
    Ok(Minted { assertion, expires_in: claims.exp - claims.iat, scope, resource: claims.resource.clone() })
}

/// An ID token of ours, for this client (ID-JAG draft section 4.3.3).
fn by_id_token(app: &App, client: &Client, token: &Secret) -> Result<SubjectToken, Refusal> {
    let refuse = Refusal::SubjectToken;
    let (claims, kid) = id_token::verify(app, token.expose()).map_err(refuse)?;
    if claims.aud != client.client_id {
        return Err(refuse("it was not issued to this client"));
    }
    if claims.exp <= app.now() {
        return Err(refuse("it has expired"));
    }
    Ok(SubjectToken::Id { session_id: claims.sid, sub: claims.sub, kid })
}

/// Finds or asks the question of this request, and says what to tell the agent; `None` when the user has decided in the meantime.
async fn ask(app: &App, unanswered: &Unanswered, client: &Client, request: &Request) -> Result<Option<Refusal>, Error> {
    let Unanswered { account_id, session_id, request_key, claims, .. } = unanswered;
    let now = app.now();
    let question = |ticket: &Ticket| OpenQuestion {
        consent_uri: app.issuer.url.at(&format!("/consent/{}", ticket.id)),
        expires_in: ticket.expires_at - now,
        interval: POLL_INTERVAL,
    };
    let aud = request.audience.as_str();
    let mut tx = app.store.begin().await?;
    // Whoever disables one of them either waits for this and closes the question, or was first: then there is nothing to ask.
    if !tx.lock_asked(account_id, &client.key, aud).await? {
        return Ok(None);
    }
    // An answer references the account, so under the lock it is here or has not happened: without this look a question that was answered
    // a moment ago would be asked a second time.
    let service = services::resolve(&mut tx, &request.audience).await?;
    let consents = tx.consents(account_id, aud, &client.key).await?;
    if request.answered_by(&consents, (request_key, *claims), &service, now).is_some() {
        return Ok(None);
    }
    tx.close_expired_ticket(request_key, now).await?;
    if let Some(ticket) = tx.open_ticket(request_key).await? {
        if (ticket.polled_at..ticket.polled_at + POLL_INTERVAL).contains(&now) {
            return Ok(Some(Refusal::SlowDown(question(&ticket))));
        }
        tx.polled(&ticket.id, now).await?;
        tx.commit().await?;
        return Ok(Some(Refusal::ConsentRequired(question(&ticket))));
    }
    if let Some(left) = denied_lately(&consents, now) {
        return Ok(Some(Refusal::DeniedLately(left)));
    }
    // Nobody is asked about a service under a name that it does not have here.
    if let Some((meant, _)) = tx.service_spelling(&request.audience).await? {
        return Ok(Some(Refusal::AudienceMisspelt(meant)));
    }
    if tx.count_open_tickets(account_id, &client.key, now).await? >= MAX_OPEN_TICKETS {
        return Ok(Some(Refusal::TooManyQuestions));
    }
    let ticket = Ticket {
        id: app.rng.token(),
        request_key: request_key.clone(),
        account_id: account_id.clone(),
        session_id: session_id.clone(),
        client_key: client.key.clone(),
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
    // Under the lock nobody else can have asked it.
    if !tx.add_ticket(&ticket).await? {
        return Err(Error::invariant("a question is asked once"));
    }
    tx.commit().await?;
    Ok(Some(Refusal::ConsentRequired(question(&ticket))))
}
