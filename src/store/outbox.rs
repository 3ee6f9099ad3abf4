//! The outbox: notices on their way. A row ends by a 2xx or by time, never by being forgotten.

use std::borrow::Cow;

use super::json_row::{elements, one_of, texts};
use super::{Columns, HostTx, Result, Tx, json, on, per_engine, word};
use crate::domain::ids::Subject;
use crate::domain::notice::{Delivery, DeliveryState, Format, Round};
use crate::domain::time::{Seconds, Timestamp};

/// By how much the clocks of two servers may differ: a lease that ends later than one that lasts as long and was taken then is of a clock
/// that was wrong, and is none.
const CLOCKS_DIFFER: Seconds = Seconds(60);

/// A notice to send.
#[derive(Debug)]
pub struct NewDelivery<'a> {
    /// Names it.
    pub id: Cow<'a, str>,
    /// Of which delegation, where it is a service's.
    pub delegation_id: Option<&'a str>,
    /// Of which session, where it is a client's.
    pub sid: Option<&'a str>,
    /// What it looks like.
    pub format: Format,
    /// Which of its withdrawal's.
    pub round: Round,
    /// Where it goes.
    pub endpoint: &'a str,
    /// Host and port of that.
    pub host: Cow<'a, str>,
    /// As first emitted.
    pub iss: &'a str,
    /// As first emitted.
    pub sub: &'a Subject,
    /// As first emitted.
    pub aud: &'a str,
    /// Now.
    pub created_at: Timestamp,
    /// When to send it.
    pub due_at: Timestamp,
    /// After which nothing is tried.
    pub give_up_at: Timestamp,
}

/// Which hosts a claim is about.
#[derive(Clone, Copy, Debug)]
pub enum Hosts<'a> {
    /// All but these, those first that come by name after `after`.
    But(&'a [String], &'a str),
    /// These alone.
    Only(&'a [String]),
}

macro_rules! delivery_columns {
    () => {
        "id, issuer_id, delegation_id, sid, format, round, endpoint, host, iss, sub, aud, state, attempts, due_at, created_at, give_up_at, ended_at,
         last_status, last_error"
    };
}
pub(super) use delivery_columns;

pub(super) fn delivery(r: &impl Columns) -> Result<Delivery> {
    Ok(Delivery {
        id: r.text("id")?,
        issuer_id: r.text("issuer_id")?,
        delegation_id: r.maybe_text("delegation_id")?,
        sid: r.maybe_text("sid")?,
        format: word(r, "format", Format::parse)?,
        round: word(r, "round", Round::parse)?,
        endpoint: r.text("endpoint")?,
        host: r.text("host")?,
        iss: r.text("iss")?,
        sub: r.id("sub")?,
        aud: r.text("aud")?,
        state: word(r, "state", DeliveryState::parse)?,
        attempts: r.int("attempts")?,
        due_at: r.time("due_at")?,
        created_at: r.time("created_at")?,
        give_up_at: r.time("give_up_at")?,
        ended_at: r.maybe_time("ended_at")?,
        last_status: r.maybe_int("last_status")?,
        last_error: r.maybe_text("last_error")?,
    })
}

/// The oldest of each chosen host; each engine finds its way by the index in its own words only.
macro_rules! oldest {
    (sqlite) => {
        "JOIN delivery d ON d.id IN (SELECT x.id FROM delivery x WHERE x.state = 'queued' AND x.host = c.host AND x.due_at <= $2
                                      ORDER BY x.due_at, x.id LIMIT $5)"
    };
    (postgres) => {
        "CROSS JOIN LATERAL (SELECT x.id FROM delivery x WHERE x.state = 'queued' AND x.host = c.host AND x.due_at <= $2
                              ORDER BY x.due_at, x.id LIMIT $5) d"
    };
}

macro_rules! skip_locked {
    (sqlite) => {
        ""
    };
    (postgres) => {
        "FOR UPDATE OF o SKIP LOCKED"
    };
}

/// From host to host by the index, without those of `$7`.
macro_rules! all_but {
    ($engine:ident) => {
        concat!(
            "walk (host) AS (
                SELECT MIN(host) FROM delivery WHERE state = 'queued' AND host > $6
                UNION ALL
                SELECT (SELECT MIN(d.host) FROM delivery d WHERE d.state = 'queued' AND d.host > h.host)
                  FROM walk h WHERE h.host IS NOT NULL
             ),
             hosts AS (SELECT host FROM walk WHERE host IS NOT NULL AND host NOT IN (SELECT value FROM ",
            texts!($engine, "$7"),
            "))"
        )
    };
}

/// Those of `$7`.
macro_rules! only {
    ($engine:ident) => {
        concat!("hosts (host) AS (SELECT value FROM ", texts!($engine, "$7"), " WHERE value > $6)")
    };
}

// A lease that lasts longer than leases do was given by a clock that was wrong: it is none.
macro_rules! claim {
    ($engine:ident, $hosts:ident) => {
        concat!(
            "WITH RECURSIVE ",
            $hosts!($engine),
            ",
             chosen AS MATERIALIZED (
                SELECT h.host FROM hosts h
                 WHERE (SELECT MIN(d.due_at) FROM delivery d WHERE d.state = 'queued' AND d.host = h.host) <= $2
                   AND NOT EXISTS (SELECT 1 FROM delivery b WHERE b.state = 'queued' AND b.host = h.host
                                                              AND b.leased_until > $2 AND b.leased_until <= $8)
                 LIMIT $4
             ),
             ",
            // Materialised, so that it is computed once: as a mere subquery PostgreSQL may run it again for each row, and with
            // SKIP LOCKED every run finds others, so that more would be leased than asked for.
            "due AS MATERIALIZED (
                SELECT o.id FROM delivery o
                 WHERE o.id IN (SELECT d.id FROM chosen c ",
            oldest!($engine),
            ") AND o.state = 'queued' AND (o.leased_until IS NULL OR o.leased_until <= $2 OR o.leased_until > $8) ",
            skip_locked!($engine),
            ")
            UPDATE delivery SET lease = $1, leased_until = $3, attempts = attempts + 1
             WHERE id IN (SELECT id FROM due) RETURNING ",
            delivery_columns!()
        )
    };
}

/// The notices that are put off for longer than a pause may last.
macro_rules! put_off {
    ($what:literal, $pauses:literal, $limit:literal) => {
        concat!(
            $what,
            " WHERE state = 'queued' AND due_at > $1 AND (attempts > 0 OR round = 'first') AND due_at > $1 + CAST(",
            $pauses,
            " ->> CAST(CASE WHEN attempts < $3 THEN attempts ELSE $3 END AS INT) AS BIGINT)",
            $limit
        )
    };
}

fn last_and_all(pauses: &[Seconds]) -> (i64, String) {
    (i64::try_from(pauses.len()).unwrap_or(i64::MAX) - 1, json(&pauses))
}

impl Tx {
    /// Puts notices on their way.
    pub async fn enqueue(&mut self, new: &[NewDelivery<'_>]) -> Result<()> {
        macro_rules! enqueue {
            ($engine:ident) => {
                concat!(
                    "INSERT INTO delivery (id, issuer_id, delegation_id, sid, format, round, endpoint, host, iss, sub, aud, state, attempts,
                                           due_at, created_at, give_up_at)
                     SELECT e.value ->> 0, $1, e.value ->> 1, e.value ->> 2, e.value ->> 3, e.value ->> 4, e.value ->> 5, e.value ->> 6,
                            e.value ->> 7, e.value ->> 8, e.value ->> 9, 'queued', 0, CAST(e.value ->> 10 AS BIGINT),
                            CAST(e.value ->> 11 AS BIGINT), CAST(e.value ->> 12 AS BIGINT) FROM ",
                    elements!($engine, "$2")
                )
            };
        }
        let id = self.issuer.clone();
        let rows = new.iter().map(|n| {
            let NewDelivery { id, delegation_id, sid, format, round, endpoint, host, iss, sub, aud, .. } = n;
            (id, delegation_id, sid, format, round, endpoint, host, iss, sub, aud, n.due_at, n.created_at, n.give_up_at)
        });
        let rows = json(&rows.collect::<Vec<_>>());
        let sql = per_engine!(self, enqueue!(sqlite), enqueue!(postgres));
        on!(self, |c| {
            sqlx::query(sql).bind(&*id).bind(&rows).execute(c).await?;
            Ok(())
        })
    }
}

impl HostTx {
    /// How many notices of a format are on their way.
    pub async fn queued_notices(&mut self, format: Format) -> Result<i64> {
        on!(self.0, |c| {
            let row = sqlx::query("SELECT COUNT(*) AS n FROM delivery WHERE state = 'queued' AND format = $1")
                .bind(format.as_str())
                .fetch_one(c)
                .await?;
            row.int("n")
        })
    }

    /// When the oldest notice of a format was made that is due by now, or was tried, and is still on its way.
    pub async fn oldest_notice(&mut self, format: Format, now: Timestamp) -> Result<Option<Timestamp>> {
        on!(self.0, |c| {
            let row = sqlx::query(
                "SELECT created_at FROM delivery WHERE state = 'queued' AND format = $1 AND (attempts > 0 OR due_at <= $2)
                  ORDER BY created_at LIMIT 1",
            )
            .bind(format.as_str())
            .bind(now)
            .fetch_optional(c)
            .await?;
            row.map(|r| r.time("created_at")).transpose()
        })
    }

    /// When the next notice is due that nobody has leased, leases lasting `lease` at most; a look that costs no transaction.
    pub async fn next_due(&mut self, now: Timestamp, lease: Seconds) -> Result<Option<Timestamp>> {
        on!(self.0, |c| {
            let row = sqlx::query(
                "SELECT MIN(due_at) AS due_at FROM delivery
                  WHERE state = 'queued' AND (leased_until IS NULL OR leased_until <= $1 OR leased_until > $2)",
            )
            .bind(now)
            .bind(now + lease + CLOCKS_DIFFER)
            .fetch_one(c)
            .await?;
            row.maybe_time("due_at")
        })
    }

    /// Leases due notices of all issuers to a worker: of at most `most` of `hosts`, the `run` oldest of each; of no host that has a leased
    /// one already, so that each is told by one worker at a time and one that hangs holds up nobody else. They come host by host, the oldest first. Counts the attempts before they are made, so that a crash cannot try for ever.
    ///
    /// It goes from host to host by the index instead of through the rows, and no further than it needs: what it does not take costs
    /// nothing, however much waits for one host.
    pub async fn claim(
        &mut self,
        worker: &str,
        now: Timestamp,
        lease: Seconds,
        (most, run): (i64, i64),
        hosts: Hosts<'_>,
    ) -> Result<Vec<Delivery>> {
        let (sql, named, after) = match hosts {
            Hosts::But(named, after) => {
                (per_engine!(self.0, claim!(sqlite, all_but), claim!(postgres, all_but)), named, after)
            }
            Hosts::Only(named) => (per_engine!(self.0, claim!(sqlite, only), claim!(postgres, only)), named, ""),
        };
        let named = json(&named);
        if self.0.is_postgres() {
            on!(self.0, |c| {
                // Two that read at the same time would both find a host free. SQLite has one writer, and never prepares this text.
                sqlx::query("SELECT pg_advisory_xact_lock(hashtext('avouch.delivery'))").execute(c).await?;
            });
        }
        let mut claimed: Vec<Delivery> = on!(self.0, |c| {
            let rows = sqlx::query(sql)
                .bind(worker)
                .bind(now)
                .bind(now + lease)
                .bind(most)
                .bind(run)
                .bind(after)
                .bind(&named)
                .bind(now + lease + CLOCKS_DIFFER)
                .fetch_all(c)
                .await?;
            rows.iter().map(delivery).collect::<Result<_>>()?
        });
        claimed.sort_by(|a, b| (&a.host, a.due_at, &a.id).cmp(&(&b.host, b.due_at, &b.id)));
        Ok(claimed)
    }

    /// Gives back what a worker leased and did not try.
    pub async fn release(&mut self, delivery_ids: &[&str], worker: &str) -> Result<()> {
        macro_rules! release {
            ($engine:ident) => {
                concat!(
                    "UPDATE delivery SET lease = NULL, leased_until = NULL, attempts = attempts - 1
                      WHERE lease = $2 AND state = 'queued' AND id IN (SELECT value FROM ",
                    texts!($engine, "$1"),
                    ")"
                )
            };
        }
        let ids = json(&delivery_ids);
        let sql = per_engine!(self.0, release!(sqlite), release!(postgres));
        on!(self.0, |c| {
            sqlx::query(sql).bind(&ids).bind(worker).execute(c).await?;
            Ok(())
        })
    }

    /// Lets be due what is due later than the longest pause after as many attempts, by `pauses`, the last of which repeats: a clock was
    /// wrong when that was written. A second notice that was not tried yet waits for what was minted, however long that is.
    pub async fn pull_forward(&mut self, now: Timestamp, pauses: &[Seconds]) -> Result<u64> {
        let sql = per_engine!(
            self.0,
            put_off!("UPDATE delivery SET due_at = $1", "$2", ""),
            put_off!("UPDATE delivery SET due_at = $1", "$2::json", "")
        );
        let (last, pauses) = last_and_all(pauses);
        on!(self.0, |c| { Ok(sqlx::query(sql).bind(now).bind(&pauses).bind(last).execute(c).await?.rows_affected()) })
    }

    /// Whether there is any such notice: a look that costs no transaction.
    pub async fn is_put_off(&mut self, now: Timestamp, pauses: &[Seconds]) -> Result<bool> {
        let sql = per_engine!(
            self.0,
            put_off!("SELECT id FROM delivery", "$2", " LIMIT 1"),
            put_off!("SELECT id FROM delivery", "$2::json", " LIMIT 1")
        );
        let (last, pauses) = last_and_all(pauses);
        on!(self.0, |c| { Ok(sqlx::query(sql).bind(now).bind(&pauses).bind(last).fetch_optional(c).await?.is_some()) })
    }

    /// Takes back every lease: of a process that is dead, on a database that is ours alone.
    pub async fn clear_leases(&mut self) -> Result<u64> {
        on!(self.0, |c| {
            let done = sqlx::query("UPDATE delivery SET lease = NULL, leased_until = NULL WHERE lease IS NOT NULL")
                .execute(c)
                .await?;
            Ok(done.rows_affected())
        })
    }
}

impl Tx {
    /// The deliveries of delegations, the oldest first.
    pub async fn deliveries(&mut self, delegation_ids: &[&str]) -> Result<Vec<Delivery>> {
        let id = self.issuer.clone();
        let sql = one_of!(
            self,
            ["SELECT ", delivery_columns!(), " FROM delivery WHERE issuer_id = $1 AND delegation_id"]
            "$2" [" ORDER BY created_at, due_at, id"]
        );
        on!(self, |c| {
            let rows = sqlx::query(sql).bind(&*id).bind(json(&delegation_ids)).fetch_all(c).await?;
            rows.iter().map(delivery).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Connection, Database};

    /// What waits for one host, and what is over, is not looked at in order to find what is due.
    #[tokio::test]
    async fn a_claim_goes_by_the_indexes() {
        let folder = tempfile::TempDir::new().unwrap();
        let database = Database::sqlite(&folder.path().join("avouch.db")).await.unwrap();
        let mut tx = database.begin().await.unwrap();
        let Connection::Sqlite(c) = tx.0.connection() else { panic!("it is SQLite") };
        for claim in [claim!(sqlite, all_but), claim!(sqlite, only)] {
            let sql = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {claim}"));
            let explain = sqlx::query(sql).bind("w").bind(0).bind(0).bind(1).bind(1).bind("").bind("[]").bind(0);
            let rows = explain.fetch_all(&mut *c).await.unwrap();
            let steps: Vec<String> = rows.iter().map(|row| row.text("detail").unwrap()).collect();
            let of_deliveries = |step: &&String| {
                ["delivery", " d ", " d USING", " b ", " o ", " x "].iter().any(|name| step.contains(name))
            };
            let looked: Vec<&String> = steps.iter().filter(of_deliveries).collect();
            assert!(looked.len() >= 5, "{steps:#?}");
            assert!(looked.iter().all(|step| step.starts_with("SEARCH")), "{steps:#?}");
        }
    }
}
