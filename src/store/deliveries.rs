//! Notices as an operator looks at them, and lets them be tried again.

use sqlx::AssertSqlSafe;

use super::outbox::{delivery, delivery_columns};
use super::{Columns, Result, StoreError, Tx, on};
use crate::domain::journal::Event;
use crate::domain::notice::{Attempt, Deliveries, Delivery};
use crate::domain::time::{Seconds, Timestamp};

/// Most attempts that are looked at: of thirty days, by the schedule.
const MAX_ATTEMPTS: i64 = 1000;

/// Longer than any lease lasts.
const NO_LEASE: Seconds = Seconds(3600);

impl Tx {
    /// A page of notices, by id.
    pub async fn list_deliveries(&mut self, filter: Deliveries<'_>) -> Result<Vec<Delivery>> {
        let id = self.issuer.clone();
        let narrowed = if filter.state.is_some() { " AND state = $4" } else { "" };
        let columns = delivery_columns!();
        let sql =
            format!("SELECT {columns} FROM delivery WHERE issuer_id = $1 AND id > $2{narrowed} ORDER BY id LIMIT $3");
        on!(self, |c| {
            let mut query = sqlx::query(AssertSqlSafe(sql)).bind(&*id).bind(filter.after).bind(filter.limit);
            if let Some(state) = filter.state {
                query = query.bind(state.as_str());
            }
            query.fetch_all(c).await?.iter().map(delivery).collect()
        })
    }

    /// A notice by its name.
    pub async fn delivery(&mut self, delivery_id: &str) -> Result<Option<Delivery>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let sql = concat!("SELECT ", delivery_columns!(), " FROM delivery WHERE issuer_id = $1 AND id = $2");
            let row = sqlx::query(sql).bind(&*id).bind(delivery_id).fetch_optional(c).await?;
            row.map(|r| delivery(&r)).transpose()
        })
    }

    /// The latest attempts at a notice with their times, the oldest first.
    pub async fn attempts_at(&mut self, of: &Delivery) -> Result<Vec<(Timestamp, Attempt)>> {
        let id = self.issuer.clone();
        let mut attempts: Vec<(Timestamp, Attempt)> = on!(self, |c| {
            let rows = sqlx::query(
                "SELECT at, kind, body FROM journal WHERE issuer_id = $1 AND delivery_id = $2 ORDER BY at DESC, id DESC LIMIT $3",
            )
            .bind(&*id)
            .bind(&of.id)
            .bind(MAX_ATTEMPTS)
            .fetch_all(c)
            .await?;
            let read = |r| match Event::read(&Columns::text(r, "kind")?, &Columns::text(r, "body")?) {
                Some(Event::DeliveryAttempt(attempt)) => Ok((Columns::time(r, "at")?, attempt)),
                _ => Err(StoreError::Broken("body")),
            };
            rows.iter().map(read).collect::<Result<_>>()?
        });
        attempts.reverse();
        Ok(attempts)
    }

    /// Lets a notice be due at once, from the state and the attempts that were seen. One that has ended begins its schedule anew. `false` when
    /// it is another one by now, or is being tried.
    pub async fn retry_delivery(&mut self, seen: &Delivery, now: Timestamp, give_up_at: Timestamp) -> Result<bool> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let done = sqlx::query(
                "UPDATE delivery SET state = 'queued', due_at = $5, give_up_at = $6, ended_at = NULL,
                        attempts = CASE WHEN state = 'queued' THEN attempts ELSE 0 END
                  WHERE issuer_id = $1 AND id = $2 AND state = $3 AND attempts = $4 AND (leased_until IS NULL OR leased_until <= $5 OR leased_until > $7)",
            )
            .bind(&*id)
            .bind(&seen.id)
            .bind(seen.state.as_str())
            .bind(seen.attempts)
            .bind(now)
            .bind(give_up_at)
            // No lease lasts so long: a clock was wrong.
            .bind(now + NO_LEASE)
            .execute(c)
            .await?;
            Ok(done.rows_affected() == 1)
        })
    }
}
