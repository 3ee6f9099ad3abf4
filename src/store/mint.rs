//! A batch of mints: the facts of all, a decision for each, and the rows of those that are granted, in one transaction.
//!
//! Whatever a decision rests on is read in the transaction that writes what comes of it. Only what needs no row is judged before: the
//! client's credential, whose rows are named by their version, and the signature of an ID token.

mod facts;
mod locks;
mod record;
mod wanted;

use std::sync::Arc;

use self::facts::Facts;
use self::locks::Locked;
use self::wanted::{Rows, Wanted};
use super::journal::Line;
use super::{Result, StoreError, Tx};
use crate::domain::claims::IdJag;
use crate::domain::client::Client;
use crate::domain::disclosure::ClaimSet;
use crate::domain::exchange::{self, Decision, Grant, Request};
use crate::domain::ids::{AccountId, ClientId, ClientKey, IssuerUrl, Jti, Kid, Subject};
use crate::domain::refusal::Refusal;
use crate::domain::rotation::SigningAlg;
use crate::domain::service::Service;
use crate::domain::time::Timestamp;
use crate::secret::sha256;

/// A token exchange whose client has proved who it is.
#[derive(Clone, Debug)]
pub struct Mint {
    /// Who asks, as it was when its credential was judged.
    pub client: Arc<Client>,
    /// For whom.
    pub subject: SubjectToken,
    /// What is asked for.
    pub request: Arc<Request>,
    /// The issuer's identifier.
    pub issuer: IssuerUrl,
    /// Where the issuers of this server are.
    pub root: IssuerUrl,
    /// Of the issuer.
    pub provider_client_id: ClientId,
    /// The key that will sign ES256.
    pub kid: Kid,
    /// The key that will sign RS256, where the issuer has one.
    pub rs256_kid: Option<Kid>,
    /// What the assertion will carry.
    pub jti: Jti,
    /// The journal row's id.
    pub entry_id: String,
    /// The time.
    pub now: Timestamp,
}

impl Mint {
    /// The key that will sign with an algorithm.
    fn signer(&self, alg: SigningAlg) -> Option<&Kid> {
        match alg {
            SigningAlg::Es256 => Some(&self.kid),
            SigningAlg::Rs256 => self.rs256_kid.as_ref(),
        }
    }
}

/// What a subject token says, judged as far as it can be without a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SubjectToken {
    /// An access token.
    Access {
        /// Of the token.
        hash: String,
    },
    /// An ID token of ours for this client, verified.
    Id {
        /// Its `sid`.
        session_id: String,
        /// Its `sub`.
        sub: Subject,
        /// The key that signed it, as far as this server has heard.
        kid: Kid,
    },
}

/// The `jti` of a client's assertion that verified, and that nobody has looked up: whether it is the first is known when it is spent,
/// which takes it away.
#[derive(Debug)]
#[must_use = "an assertion whose jti is not spent can be sent again"]
pub struct UnspentJti {
    client: ClientKey,
    jti: Jti,
    expires_at: Timestamp,
}

impl UnspentJti {
    /// Of a client, kept until a time.
    pub fn new(client: ClientKey, jti: Jti, expires_at: Timestamp) -> Self {
        Self { client, jti, expires_at }
    }
}

/// What comes of a [`Mint`].
#[derive(Debug)]
pub enum Outcome {
    /// It is in the journal, durably: sign this, with this.
    Minted(Box<IdJag>, SigningAlg),
    /// Nothing stands that covers it.
    Ask(Unanswered),
    /// All that can be judged is in order, and nobody has looked at the service yet.
    Unknown,
    /// No.
    Refused(Refusal),
    /// The client is not as it was when its credential was judged.
    ClientChanged,
    /// The issuer is over, or another key of it signs.
    IssuerChanged,
}

/// A request that the user has to be asked about.
#[derive(Debug)]
pub struct Unanswered {
    /// Whom to ask.
    pub account_id: AccountId,
    /// In which session.
    pub session_id: String,
    /// Tells requests apart.
    pub request_key: String,
    /// What the service would learn of them.
    pub claims: ClaimSet,
    /// Whether an operator answers for the service.
    pub is_declared: bool,
}

/// A mint in the batch.
pub(super) struct Waiting {
    pub(super) issuer: Arc<str>,
    pub(super) mint: Mint,
    /// To be spent in the same transaction.
    pub(super) unspent: Option<UnspentJti>,
    /// Batches it has been through.
    pub(super) turns: usize,
}

impl Waiting {
    /// For the next batch: what this one spent is spent.
    pub(super) fn again(self) -> Self {
        Self { unspent: None, turns: self.turns + 1, ..self }
    }
}

/// A `jti` in the batch that is spent for another grant.
pub(super) struct Spending {
    pub(super) issuer: Arc<str>,
    pub(super) unspent: UnspentJti,
}

/// What a mint is told, and its line for the log, which is written once it is durable.
pub(super) type Answer = (Outcome, Option<Line>);

/// What came of the mints of a batch: for each its answer, and `None` when it has to wait for the next batch, its `jti` spent already;
/// for each `jti` of another grant whether it was the first.
pub(super) type Minted = (Vec<Option<Result<Answer>>>, Vec<bool>);

/// What is said to a mint before anything is written.
enum Verdict {
    Granted(Box<Grant>),
    Said(Outcome),
    /// It rests on a row that appeared after the locks were taken.
    Later,
}

/// Decides on the mints of a batch and writes what comes of it. Nothing of it has happened before the commit.
pub(super) async fn run(tx: &mut Tx, mints: &[Waiting], spendings: &[Spending]) -> Result<Minted> {
    let wanted = Wanted::of(mints, spendings);
    // Whoever has waited is judged by the time it is now.
    let now = mints.iter().map(|waiting| waiting.mint.now).max().unwrap_or_default();
    let mut first = tx.spend(&wanted).await?;
    let (mut locked, mut facts) = (None, Facts::default());
    if wanted.needs_rows() {
        locked = tx.lock(&wanted, now).await?;
        facts = tx.facts(&wanted, now).await?;
    }
    let mut verdicts = Vec::with_capacity(mints.len());
    for (Waiting { mint, .. }, want) in mints.iter().zip(&wanted.mints) {
        // Before anything else: whoever sends an assertion again is nobody.
        let verdict = if want.jti.is_some_and(|jti| !std::mem::take(&mut first[jti])) {
            Ok(Verdict::Said(Outcome::Refused(Refusal::ASSERTION_REPLAYED)))
        } else {
            want.rows.ok_or(StoreError::Unstorable).and_then(|rows| judge(mint, rows, &facts, locked.as_ref(), now))
        };
        if let Ok(Verdict::Granted(grant)) = &verdict
            && grant.once
        {
            // What comes later in this batch finds it over.
            facts.end(&grant.consent_id, now);
        }
        verdicts.push(verdict);
    }
    let spent = wanted.spendings.iter().map(|jti| std::mem::take(&mut first[*jti])).collect();
    let granted = verdicts.iter().zip(mints).zip(&wanted.mints).filter_map(|((verdict, waiting), want)| {
        let (Ok(Verdict::Granted(grant)), Some(rows)) = (verdict, want.rows) else { return None };
        Some((waiting, facts.subject(rows.subject).ok()??, &**grant))
    });
    let mut lines = tx.record_mints(&granted.collect::<Vec<_>>(), now).await?.into_iter();
    let mints = verdicts.into_iter().map(|verdict| match verdict {
        Ok(Verdict::Granted(grant)) => Some(Ok((Outcome::Minted(Box::new(grant.claims), grant.alg), lines.next()))),
        Ok(Verdict::Said(outcome)) => Some(Ok((outcome, None))),
        Ok(Verdict::Later) => None,
        Err(error) => Some(Err(error)),
    });
    Ok((mints.collect(), spent))
}

/// Judges one mint. A row that cannot be read is the misfortune of those that need it.
fn judge(mint: &Mint, rows: Rows, facts: &Facts, locked: Option<&Locked>, now: Timestamp) -> Result<Verdict> {
    let refused = |refusal| Ok(Verdict::Said(Outcome::Refused(refusal)));
    match facts.client(rows.client)? {
        Some(client) if !client.disabled && client.version == mint.client.version => {}
        Some(client) if !client.disabled => return Ok(Verdict::Said(Outcome::ClientChanged)),
        _ => return refused(Refusal::ClientAuthenticationFailed),
    }
    if let Some(key) = rows.subject_key
        && !facts.is_published(key)?
    {
        return refused(Refusal::SubjectToken("it is not signed by a key of this issuer"));
    }
    let Some(subject) = facts.subject(rows.subject)? else {
        return refused(Refusal::SubjectToken(match mint.subject {
            SubjectToken::Access { .. } => "it is not a valid access token of this client",
            SubjectToken::Id { .. } => "its session, or what it was issued with, is over",
        }));
    };
    let known = facts.service(rows.service)?;
    if known.is_none() {
        let admitted = exchange::admit(&mint.request, &mint.client, (&mint.issuer, &mint.root), false);
        return admitted.map_or_else(refused, |()| Ok(Verdict::Said(Outcome::Unknown)));
    }
    let service = match Service::resolve(&mint.request.audience, known) {
        Ok(service) => service,
        Err(refusal) => return refused(refusal),
    };
    let request_key = mint.request.key(&subject.account.id, &subject.session_id, &mint.client.key);
    let request_key = sha256(request_key.as_bytes());
    let rest = exchange::Facts {
        account: &subject.account,
        auth_time: subject.auth_time,
        client: &mint.client,
        service: &service,
        consents: &subject.consents,
        record: subject.record.as_ref(),
        provider_client_id: &mint.provider_client_id,
        issuer: &mint.issuer,
        root: &mint.root,
    };
    let grant = match exchange::decide(&mint.request, rest, &request_key, &mint.jti, now) {
        Err(refusal) => return refused(refusal),
        Ok(Decision::Ask { claims }) => {
            let (account_id, session_id) = (subject.account.id.clone(), subject.session_id.clone());
            let is_declared = service.source.is_operators();
            let unanswered = Unanswered { account_id, session_id, request_key, claims, is_declared };
            return Ok(Verdict::Said(Outcome::Ask(unanswered)));
        }
        Ok(Decision::Mint(grant)) => grant,
    };
    let key = match grant.alg {
        SigningAlg::Es256 => Some(rows.keys.0),
        SigningAlg::Rs256 => rows.keys.1,
    };
    let (Some(key), Some(kid)) = (key, mint.signer(grant.alg)) else {
        return Ok(Verdict::Said(Outcome::IssuerChanged));
    };
    if !facts.signs(key)? {
        return Ok(Verdict::Said(Outcome::IssuerChanged));
    }
    let named = (&mint.client.key, kid);
    if locked.is_some_and(|locked| !locked.covers(named, subject, service.id.as_deref(), &grant)) {
        return Ok(Verdict::Later);
    }
    // A fault of ours, and nothing that may stand in the journal.
    grant.claims.check(mint.issuer.as_str(), now).map_err(StoreError::Broken)?;
    Ok(Verdict::Granted(grant))
}

/// What PostgreSQL cannot hold names no row, and would fail the statement that asks for many.
pub(super) fn is_storable(text: &str) -> bool {
    !text.contains('\0')
}
