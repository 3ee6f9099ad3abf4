//! Services that nobody declared: what was understood of them, and when somebody looks again.

use std::sync::LazyLock;

use super::record::{Record as _, bind_all};
use super::{Columns, HostTx, Result, Tx, json, on};
use crate::domain::ids::{Audience, ClientKey};
use crate::domain::service::{KnownService, Service};
use crate::domain::service_policy::ServicePolicy;
use crate::domain::time::Timestamp;
use crate::domain::understood::Understood;

/// What was understood of a service, and when.
#[derive(Clone, Debug)]
pub struct Discovery {
    /// What.
    pub understood: Understood,
    /// When it was looked at.
    pub looked_at: Timestamp,
    /// Until when that may be taken for what the service says.
    pub fresh_until: Timestamp,
    /// When somebody looks again by themselves.
    pub due_at: Timestamp,
    /// Since when looks find nothing that proves anything.
    pub missed_at: Option<Timestamp>,
}

/// A service that is due for another look.
#[derive(Debug)]
pub struct DueLook {
    /// Our key of the issuer.
    pub issuer_id: String,
    /// Which service.
    pub audience: String,
    /// Since when.
    pub due_at: Timestamp,
    /// Whether any user's delegation to it stands.
    pub is_used: bool,
}

fn discovery(r: &impl Columns) -> Result<Discovery> {
    Ok(Discovery {
        understood: r.json("understood")?,
        looked_at: r.time("looked_at")?,
        fresh_until: r.time("fresh_until")?,
        due_at: r.time("due_at")?,
        missed_at: r.maybe_time("missed_at")?,
    })
}

impl Tx {
    /// What was understood of an audience.
    pub async fn discovery(&mut self, audience: &str) -> Result<Option<Discovery>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(
                "SELECT understood, looked_at, fresh_until, due_at, missed_at FROM discovery WHERE issuer_id = $1 AND audience = $2",
            )
            .bind(&*id)
            .bind(audience)
            .fetch_optional(c)
            .await?;
            row.map(|r| discovery(&r)).transpose()
        })
    }

    /// The service with an audience, locked until the transaction ends: nobody else writes down another look at it meanwhile.
    pub async fn lock_service(&mut self, audience: &str) -> Result<Option<KnownService>> {
        if self.is_postgres() {
            let id = self.issuer.clone();
            on!(self, |c| {
                // SQLite, which has one writer anyway, never prepares this text.
                sqlx::query("SELECT id FROM service WHERE issuer_id = $1 AND audience = $2 FOR UPDATE")
                    .bind(&*id)
                    .bind(audience)
                    .execute(c)
                    .await?;
            });
        }
        self.known_service(audience).await
    }

    /// Writes down a service that nobody declared. `key` is used when there is none with this audience yet. `false` where an operator answers
    /// for it, or nothing differs.
    pub async fn apply_discovered(&mut self, key: &str, service: &Service, now: Timestamp) -> Result<bool> {
        static APPLY: LazyLock<String> = LazyLock::new(|| {
            let columns = [&["place", "shown", "origin"], ServicePolicy::COLUMNS].concat();
            let parameters: Vec<String> = (5..).take(columns.len()).map(|n| format!("${n}")).collect();
            let of = |table: &str| columns.iter().map(|c| format!("{table}.{c}")).collect::<Vec<_>>().join(", ");
            let (parameters, there, given) = (parameters.join(", "), of("service"), of("excluded"));
            let columns = columns.join(", ");
            format!(
                "INSERT INTO service (id, issuer_id, audience, created_at, {columns}, version)
                 VALUES ($1, $2, $3, $4, {parameters}, 1)
                 ON CONFLICT (issuer_id, audience) DO UPDATE SET ({columns}) = ({given}), version = service.version + 1
                  WHERE service.origin IN ('discovered', 'unknown') AND ({there}) IS DISTINCT FROM ({given})"
            )
        });
        let id = self.issuer.clone();
        let place = service.audience.place();
        on!(self, |c| {
            let query = sqlx::query(APPLY.as_str()).bind(key).bind(&*id).bind(service.audience.as_str()).bind(now);
            let query = query.bind(&place).bind(&service.shown).bind(service.source.as_str());
            let done = bind_all!(query, service.policy.values()).execute(c).await?;
            Ok(done.rows_affected() == 1)
        })
    }

    /// Writes down what was understood. Who named it first stays.
    pub async fn put_discovery(&mut self, audience: &str, client: Option<&ClientKey>, new: &Discovery) -> Result<()> {
        let id = self.issuer.clone();
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO discovery (issuer_id, audience, client_id, understood, created_at, looked_at, fresh_until, due_at, missed_at)
                 VALUES ($1, $2, $3, $4, $5, $5, $6, $7, $8)
                 ON CONFLICT (issuer_id, audience) DO UPDATE
                    SET understood = excluded.understood, looked_at = excluded.looked_at, fresh_until = excluded.fresh_until,
                        due_at = excluded.due_at, missed_at = excluded.missed_at",
            )
            .bind(&*id)
            .bind(audience)
            .bind(client)
            .bind(json(&new.understood))
            .bind(new.looked_at)
            .bind(new.fresh_until)
            .bind(new.due_at)
            .bind(new.missed_at)
            .execute(c)
            .await?;
            Ok(())
        })
    }

    /// How many services a client was the first to name since a time.
    pub async fn services_named_since(&mut self, client: &ClientKey, since: Timestamp) -> Result<i64> {
        on!(self, |c| {
            let row = sqlx::query("SELECT COUNT(*) AS n FROM discovery WHERE client_id = $1 AND created_at > $2")
                .bind(client)
                .bind(since)
                .fetch_one(c)
                .await?;
            row.int("n")
        })
    }

    /// What a client was the first to name and nobody uses, but for the `kept` that it named last; a few of them.
    pub async fn unused_services(&mut self, client: &ClientKey, kept: i64) -> Result<Vec<String>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(
                "SELECT d.audience FROM discovery d WHERE d.issuer_id = $1 AND d.client_id = $2
                    AND NOT EXISTS (SELECT 1 FROM delegation g WHERE g.issuer_id = d.issuer_id AND g.aud = d.audience AND g.is_over = 0)
                    AND NOT EXISTS (SELECT 1 FROM service s WHERE s.issuer_id = d.issuer_id AND s.audience = d.audience
                                                              AND s.disabled_at IS NOT NULL)
                  ORDER BY d.created_at DESC, d.audience LIMIT 8 OFFSET $3",
            )
            .bind(&*id)
            .bind(client)
            .bind(kept)
            .fetch_all(c)
            .await?;
            rows.iter().map(|r| r.text("audience")).collect()
        })
    }

    /// Notes that a look came to nothing that is kept.
    pub async fn looked_in_vain(&mut self, audience: &str, looked_at: Timestamp, due_at: Timestamp) -> Result<()> {
        let id = self.issuer.clone();
        on!(self, |c| {
            sqlx::query(
                "UPDATE discovery SET looked_at = $3, fresh_until = $4, due_at = $4 WHERE issuer_id = $1 AND audience = $2",
            )
            .bind(&*id)
            .bind(audience)
            .bind(looked_at)
            .bind(due_at)
            .execute(c)
            .await?;
            Ok(())
        })
    }

    /// Whether some spelling of an audience names a service that was declared, and is not any more.
    pub async fn is_disabled(&mut self, audience: &Audience) -> Result<bool> {
        let (id, place) = (self.issuer.clone(), audience.place());
        on!(self, |c| {
            let row = sqlx::query(
                "SELECT id FROM service WHERE issuer_id = $1 AND place = $2 AND disabled_at IS NOT NULL LIMIT 1",
            )
            .bind(&*id)
            .bind(&place)
            .fetch_optional(c)
            .await?;
            Ok(row.is_some())
        })
    }

    /// Looks at it again from a time on only.
    pub async fn stop_looking(&mut self, audience: &str, until: Timestamp) -> Result<()> {
        let id = self.issuer.clone();
        on!(self, |c| {
            sqlx::query("UPDATE discovery SET due_at = $3 WHERE issuer_id = $1 AND audience = $2")
                .bind(&*id)
                .bind(audience)
                .bind(until)
                .execute(c)
                .await?;
            Ok(())
        })
    }

    /// Forgets a service that nobody answers for or disabled, and no user has agreed to: named again, it is looked at again.
    pub async fn forget_service(&mut self, audience: &str) -> Result<()> {
        let id = self.issuer.clone();
        for sql in [
            "DELETE FROM service WHERE issuer_id = $1 AND audience = $2 AND origin IN ('discovered', 'unknown') AND disabled_at IS NULL
                AND NOT EXISTS (SELECT 1 FROM delegation g WHERE g.issuer_id = $1 AND g.aud = $2 AND g.is_over = 0)",
            "DELETE FROM discovery WHERE issuer_id = $1 AND audience = $2
                AND NOT EXISTS (SELECT 1 FROM service s WHERE s.issuer_id = $1 AND s.audience = $2)",
        ] {
            on!(self, |c| {
                sqlx::query(sql).bind(&*id).bind(audience).execute(c).await?;
            });
        }
        Ok(())
    }

    /// The audience of a service, by our key.
    pub async fn service_audience(&mut self, key: &str) -> Result<Option<Audience>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query("SELECT audience FROM service WHERE issuer_id = $1 AND id = $2")
                .bind(&*id)
                .bind(key)
                .fetch_optional(c)
                .await?;
            Ok(row.map(|r| r.text("audience")).transpose()?.and_then(|text| Audience::parse(&text).ok()))
        })
    }

    /// Lets an operator answer for a service as it is, or no longer. `false` where it did not stand as `from`.
    pub async fn move_service(&mut self, audience: &str, (from, to): (&str, &str)) -> Result<bool> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let done = sqlx::query(
                "UPDATE service SET origin = $4, version = version + 1
                  WHERE issuer_id = $1 AND audience = $2 AND origin = $3 AND disabled_at IS NULL",
            )
            .bind(&*id)
            .bind(audience)
            .bind(from)
            .bind(to)
            .execute(c)
            .await?;
            Ok(done.rows_affected() == 1)
        })
    }
}

impl HostTx {
    /// Services of all issuers that are due for another look, the longest due first.
    pub async fn due_looks(&mut self, now: Timestamp, limit: i64) -> Result<Vec<DueLook>> {
        on!(self.0, |c| {
            let rows = sqlx::query(
                "SELECT d.issuer_id, d.audience, d.due_at,
                        CAST(CASE WHEN EXISTS (SELECT 1 FROM delegation g
                                            WHERE g.issuer_id = d.issuer_id AND g.aud = d.audience AND g.is_over = 0)
                                  THEN 1 ELSE 0 END AS BIGINT) AS is_used
                   FROM discovery d WHERE d.due_at <= $1 ORDER BY d.due_at LIMIT $2",
            )
            .bind(now)
            .bind(limit)
            .fetch_all(c)
            .await?;
            rows.iter()
                .map(|r| {
                    Ok(DueLook {
                        issuer_id: r.text("issuer_id")?,
                        audience: r.text("audience")?,
                        due_at: r.time("due_at")?,
                        is_used: r.int("is_used")? == 1,
                    })
                })
                .collect()
        })
    }

    /// Puts a look off until a time. `false` when somebody else was first.
    pub async fn put_off_look(&mut self, look: &DueLook, until: Timestamp) -> Result<bool> {
        on!(self.0, |c| {
            let done =
                sqlx::query("UPDATE discovery SET due_at = $4 WHERE issuer_id = $1 AND audience = $2 AND due_at = $3")
                    .bind(&look.issuer_id)
                    .bind(&look.audience)
                    .bind(look.due_at)
                    .bind(until)
                    .execute(c)
                    .await?;
            Ok(done.rows_affected() == 1)
        })
    }
}
