//! What a batch of mints does to the rows: spends client assertions, compares what was decided on, uses consents, writes the journal.

use std::collections::{HashMap, HashSet};

use super::commit::{Take, Work};
use super::{Columns as _, Result, StoreError, Tx, json, on, per_engine};

/// The rows of `$1`, a JSON array, as `e(value)`.
macro_rules! rows_of {
    (sqlite) => {
        "json_each($1) AS e"
    };
    (postgres) => {
        "json_array_elements($1::json) AS e(value)"
    };
}

/// What a take rests on, all of it: the statements that compare read nothing else of a take. Takes that rest on the same, such as those
/// of one busy agent, are compared once in a batch.
#[derive(PartialEq, Eq, Hash)]
struct Basis<'a> {
    consent: &'a str,
    session: &'a str,
    key: &'a str,
    family: &'a str,
    account_version: i64,
    client_version: i64,
    service_version: i64,
    account: &'a str,
    client: &'a str,
    delegation: &'a str,
    auth_time: i64,
    asked_scope: &'a str,
    resources: &'a [String],
}

impl<'a> Basis<'a> {
    fn of(take: &'a Take) -> Self {
        Self {
            consent: &take.consent_id,
            session: &take.session_id,
            key: &take.kid,
            family: &take.family_id,
            account_version: take.account_version,
            client_version: take.client_version,
            service_version: take.service_version,
            account: &take.account_id,
            client: &take.client_id,
            delegation: &take.delegation_id,
            auth_time: take.auth_time,
            asked_scope: &take.asked_scope,
            resources: &take.resources,
        }
    }

    /// As the statements read it, after its number.
    fn row(&self, n: usize) -> impl serde::Serialize {
        (
            n,
            self.consent,
            self.session,
            self.key,
            self.family,
            self.account_version,
            self.client_version,
            self.service_version,
            self.account,
            self.client,
            self.delegation,
            self.auth_time,
            self.asked_scope,
            json(&self.resources),
        )
    }
}

impl Tx {
    /// Spends the `jti`s of a batch; says for each job whether it was the first.
    pub(super) async fn spend_all(&mut self, work: &[Work], outcomes: &mut [bool]) -> Result<()> {
        macro_rules! spend {
            ($engine:ident) => {
                concat!(
                    "INSERT INTO used_jti (issuer_id, client_id, jti, expires_at)
                     SELECT $2, e.value ->> 0, e.value ->> 1, CAST(e.value ->> 2 AS BIGINT) FROM ",
                    rows_of!($engine),
                    " WHERE true ON CONFLICT DO NOTHING RETURNING client_id, jti"
                )
            };
        }
        let mut first: HashMap<(&str, &str), usize> = HashMap::new();
        let mut rows = Vec::new();
        for (n, work) in work.iter().enumerate() {
            if let Work::Spend { client, jti, expires_at } = work
                && !first.contains_key(&(client.as_str(), jti.as_str()))
            {
                first.insert((client, jti), n);
                rows.push((client, jti, expires_at));
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        // In one order everywhere, so that two replicas wait for each other instead of deadlocking.
        rows.sort_unstable();
        let rows = json(&rows);
        let id = self.issuer.clone();
        let sql = per_engine!(self, spend!(sqlite), spend!(postgres));
        let spent: Vec<(String, String)> = on!(self, |c| {
            let rows = sqlx::query(sql).bind(&rows).bind(&*id).fetch_all(c).await?;
            rows.iter().map(|r| Ok((r.text("client_id")?, r.text("jti")?))).collect::<Result<_>>()?
        });
        for (client, jti) in &spent {
            if let Some(n) = first.get(&(client.as_str(), jti.as_str())) {
                outcomes[*n] = true;
            }
        }
        Ok(())
    }

    /// Takes the consents of a batch; says for each job whether everything it was decided on still held.
    pub(super) async fn take_all(&mut self, work: &[Work], outcomes: &mut [bool]) -> Result<()> {
        let takes = || {
            work.iter()
                .enumerate()
                .filter_map(|(n, work)| if let Work::Take(take) = work { Some((n, &**take)) } else { None })
        };
        let Some(now) = takes().map(|(_, take)| take.at).max() else { return Ok(()) };
        let mut bases: HashMap<Basis<'_>, usize> = HashMap::new();
        for (_, take) in takes() {
            let n = bases.len();
            bases.entry(Basis::of(take)).or_insert(n);
        }
        let rows = json(&bases.iter().map(|(basis, n)| basis.row(*n)).collect::<Vec<_>>());
        if self.is_postgres() {
            self.lock_for_takes(&rows).await?;
        }
        let holding = self.bases_that_hold(&rows, now).await?;
        let mut once: HashSet<&str> = HashSet::new();
        let won: Vec<&Take> = takes()
            .filter_map(|(n, take)| {
                let is_once = bases.get(&Basis::of(take)).and_then(|basis| holding.get(basis))?;
                // A `once` named by several waiters is the first one's.
                if *is_once && !once.insert(&take.consent_id) {
                    return None;
                }
                outcomes[n] = true;
                Some(take)
            })
            .collect();
        if won.is_empty() {
            return Ok(());
        }
        self.record_takes(&won, now).await
    }

    /// PostgreSQL reads at READ COMMITTED: what the takes rest on is locked, in the order that everyone keeps, before it is read.
    async fn lock_for_takes(&mut self, rows: &str) -> Result<()> {
        const SQL: &str = "
            WITH e AS MATERIALIZED (SELECT value FROM json_array_elements($1::json) AS t(value)),
            l1 AS MATERIALIZED (SELECT id FROM account WHERE id IN (SELECT value ->> 8 FROM e) ORDER BY id FOR SHARE),
            l2 AS MATERIALIZED (SELECT id FROM client WHERE id IN (SELECT value ->> 9 FROM e) ORDER BY id FOR SHARE),
            l3 AS MATERIALIZED (SELECT id FROM session WHERE id IN (SELECT value ->> 2 FROM e) ORDER BY id FOR SHARE),
            l4 AS MATERIALIZED (SELECT id FROM token_family WHERE id IN (SELECT value ->> 4 FROM e) ORDER BY id FOR SHARE),
            l5 AS MATERIALIZED (SELECT v.id FROM service v WHERE (v.issuer_id, v.audience) IN
                (SELECT d.issuer_id, d.aud FROM delegation d WHERE d.id IN (SELECT value ->> 10 FROM e)) ORDER BY v.id FOR SHARE),
            l6 AS MATERIALIZED (SELECT kid FROM signing_key WHERE kid IN (SELECT value ->> 3 FROM e) ORDER BY kid FOR SHARE),
            l7 AS MATERIALIZED (SELECT id FROM delegation WHERE id IN (SELECT value ->> 10 FROM e) ORDER BY id FOR NO KEY UPDATE),
            l8 AS MATERIALIZED (SELECT id FROM consent WHERE id IN (SELECT value ->> 1 FROM e) ORDER BY id FOR NO KEY UPDATE)
            SELECT (SELECT COUNT(*) FROM l1), (SELECT COUNT(*) FROM l2), (SELECT COUNT(*) FROM l3), (SELECT COUNT(*) FROM l4),
                   (SELECT COUNT(*) FROM l5), (SELECT COUNT(*) FROM l6), (SELECT COUNT(*) FROM l7), (SELECT COUNT(*) FROM l8)";
        on!(self, |c| {
            // SQLite never prepares this text.
            sqlx::query(SQL).bind(rows).execute(c).await?;
        });
        Ok(())
    }

    /// The numbers of the bases whose every condition still holds, and whether their consent is a `once`.
    async fn bases_that_hold(&mut self, rows: &str, now: i64) -> Result<HashMap<usize, bool>> {
        macro_rules! holding {
            ($engine:ident) => {
                concat!(
                    "SELECT CAST(e.value ->> 0 AS BIGINT) AS n, c.mode FROM ",
                    rows_of!($engine),
                    " JOIN consent c ON c.id = e.value ->> 1
                      JOIN delegation d ON d.id = c.delegation_id
                      JOIN account a ON a.id = c.account_id
                      JOIN client k ON k.id = c.client_id
                      JOIN session s ON s.id = e.value ->> 2
                      JOIN signing_key g ON g.kid = e.value ->> 3
                      JOIN token_family f ON f.id = e.value ->> 4
                      LEFT JOIN service v ON v.issuer_id = d.issuer_id AND v.audience = d.aud AND v.disabled_at IS NULL
                     WHERE c.issuer_id = $3 AND c.ended_at IS NULL AND c.mode <> 'denied' AND (c.until_at IS NULL OR c.until_at > $2)
                       AND d.ended_at IS NULL
                       AND a.disabled_at IS NULL AND a.version = CAST(e.value ->> 5 AS BIGINT)
                       AND k.disabled_at IS NULL AND k.version = CAST(e.value ->> 6 AS BIGINT)
                       AND s.account_id = a.id AND s.ended_at IS NULL AND s.expires_at > $2
                       AND s.auth_time = CAST(e.value ->> 11 AS BIGINT)
                       AND NOT EXISTS (SELECT 1 FROM consent n
                            WHERE n.account_id = c.account_id AND n.aud = c.aud AND n.client_id = c.client_id AND n.ended_at IS NULL
                              AND n.mode = 'denied' AND n.created_at >= c.created_at
                              AND n.asked_scope = e.value ->> 12 AND n.resources = e.value ->> 13)
                       AND f.ended_at IS NULL
                       AND COALESCE(v.version, 0) = CAST(e.value ->> 7 AS BIGINT)
                       AND g.issuer_id = $3 AND g.state = 'active'"
                )
            };
        }
        let id = self.issuer.clone();
        let sql = per_engine!(self, holding!(sqlite), holding!(postgres));
        on!(self, |c| {
            let rows = sqlx::query(sql).bind(rows).bind(now).bind(&*id).fetch_all(c).await?;
            rows.iter()
                .map(|r| {
                    let n = usize::try_from(r.int("n")?).map_err(|_| StoreError::Broken("n"))?;
                    Ok((n, r.text("mode")? == "once"))
                })
                .collect()
        })
    }

    /// Uses up what was won and writes it down. One round trip: each costs as much as ten rows.
    async fn record_takes(&mut self, won: &[&Take], now: i64) -> Result<()> {
        macro_rules! used_consents {
            ($ids:literal) => {
                concat!(
                    "UPDATE consent SET last_used_at = $4, ended_at = CASE WHEN mode = 'once' THEN $4 ELSE ended_at END WHERE id IN (SELECT ",
                    $ids,
                    ")"
                )
            };
        }
        // One row each, however many mints: an `UPDATE … FROM` takes only one of several matching rows.
        macro_rules! used_delegations {
            ($rows:literal) => {
                concat!(
                    "UPDATE delegation SET last_used_at = $4, last_client_id = e.value ->> 1, mint_count = delegation.mint_count + CAST(e.value ->> 2 AS BIGINT),
                            last_exp = CASE WHEN last_exp > CAST(e.value ->> 3 AS BIGINT) THEN last_exp ELSE CAST(e.value ->> 3 AS BIGINT) END
                       FROM ",
                    $rows,
                    " WHERE delegation.id = e.value ->> 0"
                )
            };
        }
        macro_rules! record {
            ($rows:literal) => {
                concat!(
                    "INSERT INTO journal (id, issuer_id, at, kind, account_id, client_id, delegation_id, consent_id, jti, body)
                     SELECT e.value ->> 0, $5, CAST(e.value ->> 1 AS BIGINT), 'assertion', e.value ->> 2, e.value ->> 3, e.value ->> 4,
                            e.value ->> 5, e.value ->> 6, e.value ->> 7 FROM ",
                    $rows
                )
            };
        }
        const SQLITE: &str = concat!(
            used_consents!("value FROM json_each($1)"),
            "; ",
            used_delegations!("json_each($2) AS e"),
            "; ",
            record!("json_each($3) AS e")
        );
        const POSTGRES: &str = concat!(
            "WITH c AS (",
            used_consents!("json_array_elements_text($1::json)"),
            "), d AS (",
            used_delegations!("json_array_elements($2::json) AS e(value)"),
            ") ",
            record!("json_array_elements($3::json) AS e(value)")
        );
        let consents: HashSet<&str> = won.iter().map(|take| take.consent_id.as_str()).collect();
        let consents = json(&consents);
        let mut uses: HashMap<&str, (&str, i64, i64)> = HashMap::new();
        for take in won {
            let (client, count, exp) = uses.entry(&take.delegation_id).or_insert((&take.client_id, 0, 0));
            *client = &take.client_id;
            *count += 1;
            *exp = take.exp.max(*exp);
        }
        let uses = json(&uses.iter().map(|(id, (client, count, exp))| (id, client, count, exp)).collect::<Vec<_>>());
        let rows: Vec<_> = won
            .iter()
            .map(|t| {
                let body = t.body.to_string();
                (&t.entry_id, t.at, &t.account_id, &t.client_id, &t.delegation_id, &t.consent_id, &t.jti, body)
            })
            .collect();
        let rows = json(&rows);
        let id = self.issuer.clone();
        let sql = per_engine!(self, SQLITE, POSTGRES);
        on!(self, |c| {
            sqlx::query(sql).bind(&consents).bind(&uses).bind(&rows).bind(now).bind(&*id).execute(c).await?;
        });
        Ok(())
    }
}
