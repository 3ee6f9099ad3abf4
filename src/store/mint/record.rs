//! What a batch writes: spent `jti`s, used consents and delegations, and a journal row for each assertion.

use std::collections::{BTreeMap, BTreeSet};

use super::Waiting;
use super::facts::SubjectFacts;
use super::wanted::Wanted;
use crate::domain::exchange::Grant;
use crate::domain::ids::ClientKey;
use crate::domain::journal::{Assertion, Event};
use crate::domain::time::Timestamp;
use crate::store::journal::Line;
use crate::store::json_row::{elements, texts};
use crate::store::{Columns as _, Result, StoreError, Tx, json, on, per_engine};

// The partial indexes of consents are touched only where a `once` ends, and a row that names this second already is left alone.
macro_rules! standing_consents {
    ($engine:ident) => {
        concat!(
            "UPDATE consent SET last_used_at = $5 WHERE id IN (SELECT value FROM ",
            texts!($engine, "$1"),
            ") AND last_used_at IS DISTINCT FROM $5"
        )
    };
}

macro_rules! used_up_consents {
    ($engine:ident) => {
        concat!(
            "UPDATE consent SET last_used_at = $5, ended_at = $5 WHERE id IN (SELECT value FROM ",
            texts!($engine, "$2"),
            ")"
        )
    };
}

// One row each, however many mints: an `UPDATE … FROM` takes only one of several matching rows.
macro_rules! delegations {
    ($engine:ident) => {
        concat!(
            "UPDATE delegation SET last_used_at = $5, last_client_id = e.value ->> 1,
                    mint_count = delegation.mint_count + CAST(e.value ->> 2 AS BIGINT),
                    last_exp = CASE WHEN last_exp > CAST(e.value ->> 3 AS BIGINT) THEN last_exp ELSE CAST(e.value ->> 3 AS BIGINT) END
               FROM ",
            elements!($engine, "$3"),
            " WHERE delegation.id = e.value ->> 0"
        )
    };
}

macro_rules! journal {
    ($engine:ident) => {
        concat!(
            "INSERT INTO journal (id, issuer_id, at, kind, account_id, client_id, delegation_id, consent_id, jti, body)
             SELECT e.value ->> 0, e.value ->> 1, $5, e.value ->> 2, e.value ->> 3, e.value ->> 4, e.value ->> 5, e.value ->> 6,
                    e.value ->> 7, e.value ->> 8 FROM ",
            elements!($engine, "$4")
        )
    };
}

impl Tx {
    /// Spends the `jti`s of a batch; says for each, by its number, whether it was the first.
    pub(super) async fn spend(&mut self, wanted: &Wanted<'_>) -> Result<Vec<bool>> {
        macro_rules! spend {
            ($engine:ident) => {
                concat!(
                    "INSERT INTO used_jti (issuer_id, client_id, jti, expires_at)
                     SELECT e.value ->> 0, e.value ->> 1, e.value ->> 2, CAST(e.value ->> 3 AS BIGINT) FROM ",
                    elements!($engine, "$1"),
                    " WHERE true ON CONFLICT DO NOTHING RETURNING issuer_id, client_id, jti"
                )
            };
        }
        let mut first = vec![false; wanted.jtis.len()];
        if first.is_empty() {
            return Ok(first);
        }
        let rows: Vec<_> =
            wanted.jtis.iter().map(|((issuer, client, jti), (_, exp))| (issuer, client, jti, exp)).collect();
        let rows = json(&rows);
        let sql = per_engine!(self, spend!(sqlite), spend!(postgres));
        on!(self, |c| {
            for row in sqlx::query(sql).bind(&rows).fetch_all(c).await? {
                let (issuer, client, jti) = (row.text("issuer_id")?, row.id("client_id")?, row.id("jti")?);
                let spent = wanted.jtis.get(&(issuer.as_str(), &client, &jti));
                first[spent.ok_or(StoreError::Broken("jti"))?.0] = true;
            }
        });
        Ok(first)
    }

    /// Uses up what was granted and writes it down, in one round trip.
    pub(super) async fn record_mints(
        &mut self,
        granted: &[(&Waiting, &SubjectFacts, &Grant)],
        now: Timestamp,
    ) -> Result<Vec<Line>> {
        const SQLITE: &str = concat!(
            standing_consents!(sqlite),
            "; ",
            used_up_consents!(sqlite),
            "; ",
            delegations!(sqlite),
            "; ",
            journal!(sqlite)
        );
        const POSTGRES: &str = concat!(
            "WITH standing AS (",
            standing_consents!(postgres),
            "), used_up AS (",
            used_up_consents!(postgres),
            "), used AS (",
            delegations!(postgres),
            ") ",
            journal!(postgres)
        );
        if granted.is_empty() {
            return Ok(Vec::new());
        }
        let (mut standing, mut once) = (BTreeSet::new(), BTreeSet::new());
        let mut used: BTreeMap<&str, (&ClientKey, i64, Timestamp)> = BTreeMap::new();
        let mut lines = Vec::with_capacity(granted.len());
        for (waiting, subject, grant) in granted {
            let (mint, claims) = (&waiting.mint, &grant.claims);
            if grant.once { &mut once } else { &mut standing }.insert(grant.consent_id.as_str());
            let (client, count, exp) =
                used.entry(&grant.delegation_id).or_insert((&mint.client.key, 0, Timestamp::EPOCH));
            *client = &mint.client.key;
            *count += 1;
            *exp = claims.exp.max(*exp);
            let event = Event::Assertion(Assertion {
                sub: claims.sub.clone(),
                aud: claims.aud.clone(),
                exp: claims.exp,
                kid: mint.signer(grant.alg).cloned().ok_or(StoreError::Broken("kid"))?,
                scope: claims.scope.clone(),
                resource: claims.resource.clone(),
                agent_platform: mint.request.agent_platform.clone(),
                agent_context_id: mint.request.agent_context_id.clone(),
            });
            let (kind, body) = event.columns();
            lines.push(Line {
                durable: false,
                issuer: waiting.issuer.clone(),
                kind,
                account: Some(subject.account.id.clone()),
                client: Some(mint.client.key.clone()),
                delegation: Some(grant.delegation_id.clone()),
                consent: Some(grant.consent_id.clone()),
                jti: Some(claims.jti.clone()),
                body,
            });
        }
        let rows = granted.iter().zip(&lines).map(|((waiting, ..), line)| {
            let Line { issuer, kind, account, client, delegation, consent, jti, body, .. } = line;
            (&waiting.mint.entry_id, &**issuer, kind, account, client, delegation, consent, jti, body)
        });
        let rows: Vec<_> = rows.collect();
        let used: Vec<_> = used.iter().map(|(id, (client, count, exp))| (id, client, count, exp)).collect();
        let (standing, once, used, rows) = (json(&standing), json(&once), json(&used), json(&rows));
        let sql = per_engine!(self, SQLITE, POSTGRES);
        on!(self, |c| {
            sqlx::query(sql).bind(&standing).bind(&once).bind(&used).bind(&rows).bind(now).execute(c).await?;
        });
        Ok(lines)
    }
}
