//! The journal: append-only. What is in it for good also gets a line in the log.

use std::sync::Arc;

use super::json_row::{elements, one_of};
use super::{Columns, Result, StoreError, Tx, json, on, per_engine};
use crate::domain::ids::{AccountId, ClientId, ClientKey, Jti};
use crate::domain::journal::{Assertion, Event};
use crate::domain::notice::Attempt;
use crate::domain::time::Timestamp;

/// One row of it.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Sorts by time.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
    /// Whose.
    pub account_id: Option<&'a AccountId>,
    /// By which client.
    pub client: Option<&'a ClientKey>,
    /// Under which record.
    pub delegation_id: Option<&'a str>,
    /// By which decision.
    pub consent_id: Option<&'a str>,
}

impl Entry<'_> {
    /// A row about nobody in particular.
    #[must_use]
    pub fn new(id: String, at: Timestamp, event: Event) -> Self {
        Self { id, at, event, account_id: None, client: None, delegation_id: None, consent_id: None }
    }
}

/// An assertion in the journal.
#[derive(Debug)]
pub struct AssertionRow {
    /// The row's.
    pub id: String,
    /// Whose it was.
    pub client: ClientId,
    /// Its identifier.
    pub jti: Jti,
    /// What it said.
    pub assertion: Assertion,
}

/// A row's line in the log, which it writes when it is dropped: in the span of whoever asked for it, or of nobody if they have gone.
#[derive(Debug)]
pub(super) struct Line {
    /// Whether it is written at all: what was rolled back has not happened.
    pub(super) durable: bool,
    pub(super) issuer: Arc<str>,
    pub(super) kind: String,
    pub(super) account: Option<AccountId>,
    pub(super) client: Option<ClientKey>,
    pub(super) delegation: Option<String>,
    pub(super) consent: Option<String>,
    pub(super) jti: Option<Jti>,
    pub(super) body: String,
}

impl Line {
    fn of(issuer: Arc<str>, entry: &Entry<'_>) -> Self {
        let (kind, body) = entry.event.columns();
        Self {
            durable: false,
            issuer,
            kind,
            account: entry.account_id.cloned(),
            client: entry.client.cloned(),
            delegation: entry.delegation_id.map(str::to_owned),
            consent: entry.consent_id.map(str::to_owned),
            jti: None,
            body,
        }
    }

    /// Of what concerns a delegation, or nothing here.
    pub(super) fn of_delegation(issuer: Arc<str>, delegation_id: Option<&str>, event: &Event) -> Self {
        let (kind, body) = event.columns();
        let delegation = delegation_id.map(str::to_owned);
        Self { durable: false, issuer, kind, account: None, client: None, delegation, consent: None, jti: None, body }
    }

    /// What it tells of is committed.
    pub(super) fn durable(mut self) -> Self {
        self.durable = true;
        self
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.durable {
            tracing::info!(
                issuer = &*self.issuer,
                account = self.account.as_ref().map(AccountId::as_str),
                client_key = self.client.as_ref().map(ClientKey::as_str),
                delegation = self.delegation,
                consent = self.consent,
                jti = self.jti.as_ref().map(Jti::as_str),
                body = %self.body,
                "{}",
                self.kind
            );
        }
    }
}

fn assertion_row(r: &impl Columns) -> Result<AssertionRow> {
    let Some(Event::Assertion(assertion)) = Event::read("assertion", &r.text("body")?) else {
        return Err(StoreError::Broken("body"));
    };
    let client = ClientId::parse(&r.text("client_id")?).map_err(|_| StoreError::Broken("client_id"))?;
    Ok(AssertionRow { id: r.text("id")?, client, jti: r.id("jti")?, assertion })
}

impl Tx {
    /// Appends a row.
    pub async fn record(&mut self, entry: Entry<'_>) -> Result<()> {
        let id = self.issuer.clone();
        let line = Line::of(id.clone(), &entry);
        let (kind, body) = (line.kind.clone(), line.body.clone());
        self.lines.push(line);
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO journal (id, issuer_id, at, kind, account_id, client_id, delegation_id, consent_id, body)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            )
            .bind(&entry.id)
            .bind(&*id)
            .bind(entry.at)
            .bind(&kind)
            .bind(entry.account_id)
            .bind(entry.client)
            .bind(entry.delegation_id)
            .bind(entry.consent_id)
            .bind(&body)
            .execute(c)
            .await?;
            Ok(())
        })
    }

    /// Appends rows, by one statement.
    pub async fn record_all(&mut self, entries: &[Entry<'_>]) -> Result<()> {
        macro_rules! record {
            ($engine:ident) => {
                concat!(
                    "INSERT INTO journal (id, issuer_id, at, kind, account_id, client_id, delegation_id, consent_id, body)
                     SELECT e.value ->> 0, $1, CAST(e.value ->> 1 AS BIGINT), e.value ->> 2, e.value ->> 3, e.value ->> 4, e.value ->> 5,
                            e.value ->> 6, e.value ->> 7 FROM ",
                    elements!($engine, "$2")
                )
            };
        }
        let id = self.issuer.clone();
        let lines: Vec<Line> = entries.iter().map(|entry| Line::of(id.clone(), entry)).collect();
        let rows = entries.iter().zip(&lines).map(|(entry, line)| {
            let Line { kind, account, client, delegation, consent, body, .. } = line;
            (&entry.id, entry.at, kind, account, client, delegation, consent, body)
        });
        let rows = json(&rows.collect::<Vec<_>>());
        let sql = per_engine!(self, record!(sqlite), record!(postgres));
        on!(self, |c| {
            sqlx::query(sql).bind(&*id).bind(&rows).execute(c).await?;
        });
        self.lines.extend(lines);
        Ok(())
    }

    /// The assertions of this issuer between two times, in their order, after a row. It goes through the rows of all issuers between them:
    /// there is no index that every mint would have to pay for, and this is asked when a key is compromised.
    pub async fn assertions_between(
        &mut self,
        (since, until): (Timestamp, Timestamp),
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<AssertionRow>> {
        let id = self.issuer.clone();
        // A row's id begins with its time, in milliseconds.
        let bound = |at: Timestamp| format!("{:012x}", at.0.max(0).saturating_mul(1000));
        on!(self, |c| {
            let rows = sqlx::query(
                "SELECT j.id, c.client_id, j.jti, j.body FROM journal j JOIN client c ON c.id = j.client_id
                  WHERE j.id > $2 AND j.id < $4 AND j.issuer_id = $1 AND j.kind = 'assertion' ORDER BY j.id LIMIT $3",
            )
            .bind(&*id)
            .bind(after.map_or_else(|| bound(since), str::to_owned))
            .bind(limit)
            .bind(bound(until))
            .fetch_all(c)
            .await?;
            rows.iter().map(assertion_row).collect()
        })
    }

    /// The attempts at telling services of the end of delegations, each with the delegation and its time, the oldest first. What was tried at
    /// an earlier end is left out.
    pub async fn attempts(&mut self, delegation_ids: &[&str]) -> Result<Vec<(String, Timestamp, Attempt)>> {
        let id = self.issuer.clone();
        let sql = one_of!(
            self,
            ["SELECT j.delegation_id, j.at, j.kind, j.body FROM delegation d
                JOIN journal j ON j.delegation_id = d.id AND j.kind = 'delivery.attempt' AND j.at >= d.ended_at
               WHERE d.issuer_id = $1 AND d.id"]
            "$2" [" ORDER BY j.at, j.id"]
        );
        on!(self, |c| {
            let rows = sqlx::query(sql).bind(&*id).bind(json(&delegation_ids)).fetch_all(c).await?;
            rows.iter().map(attempt).collect()
        })
    }
}

fn attempt(r: &impl Columns) -> Result<(String, Timestamp, Attempt)> {
    match Event::read(&r.text("kind")?, &r.text("body")?) {
        Some(Event::DeliveryAttempt(attempt)) => Ok((r.text("delegation_id")?, r.time("at")?, attempt)),
        _ => Err(StoreError::Broken("body")),
    }
}
