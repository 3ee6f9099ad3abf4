//! Attempts at notices, written down in batches, and how each leaves its notice.

use std::collections::HashSet;
use std::sync::Arc;

use super::journal::Line;
use super::json_row::elements;
use super::{Columns, HostTx, Result, Tx, json, on, per_engine};
use crate::domain::journal::Event;
use crate::domain::notice::{Attempt, DeliveryState};
use crate::domain::time::Timestamp;

/// An attempt that was made, and how it leaves its notice.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// Whose notice it was.
    pub issuer: Arc<str>,
    /// The journal row's id.
    pub entry_id: String,
    /// Who made it, under a lease that may have run out.
    pub worker: String,
    /// When.
    pub at: Timestamp,
    /// Of which delegation, where it is a service's.
    pub delegation_id: Option<String>,
    /// Host and port of where it went.
    pub host: String,
    /// What came of it; whether the lease was still held is found out when it is written.
    pub attempt: Attempt,
}

impl Tx {
    /// Writes down attempts, and settles the notices whose leases are still held. Where one is not, the attempt was made all the same, but its
    /// outcome is the next worker's to decide.
    pub(super) async fn settle(&mut self, settlements: &[Settlement]) -> Result<()> {
        let id = |n: usize| &settlements[n].attempt.delivery_id;
        let mut held = vec![false; settlements.len()];
        let mut left: Vec<usize> = (0..settlements.len()).collect();
        while !left.is_empty() {
            // A notice that two workers tried comes twice, and a statement changes a row once.
            let mut ids = HashSet::new();
            let (one_of_each, others): (Vec<usize>, _) = left.into_iter().partition(|n| ids.insert(id(*n)));
            let settled = self.settle_each(one_of_each.iter().map(|n| &settlements[*n])).await?;
            for n in one_of_each {
                held[n] = settled.contains(id(n));
            }
            left = others;
        }
        if !settlements.is_empty() {
            self.record_attempts(settlements, &held).await?;
        }
        Ok(())
    }

    /// The ids of those that were settled.
    async fn settle_each(&mut self, settlements: impl Iterator<Item = &Settlement>) -> Result<HashSet<String>> {
        macro_rules! settle {
            ($engine:ident) => {
                concat!(
                    "UPDATE delivery SET state = e.value ->> 3, due_at = CAST(e.value ->> 4 AS BIGINT),
                            last_status = CAST(e.value ->> 5 AS BIGINT), last_error = e.value ->> 6,
                            ended_at = CAST(e.value ->> 7 AS BIGINT), endpoint = e.value ->> 8, host = e.value ->> 9,
                            lease = NULL, leased_until = NULL
                       FROM ",
                    elements!($engine, "$1"),
                    " WHERE delivery.id = e.value ->> 0 AND delivery.issuer_id = e.value ->> 1 AND delivery.lease = e.value ->> 2
                        AND delivery.state = 'queued' RETURNING id"
                )
            };
        }
        let rows = settlements.map(|Settlement { issuer, worker, at, host, attempt, .. }| {
            let ended_at = (attempt.state != DeliveryState::Queued).then_some(at);
            let Attempt { delivery_id, state, due_at, status, error, endpoint, .. } = attempt;
            (delivery_id, &**issuer, worker, state, due_at, status, error, ended_at, endpoint, host)
        });
        let rows = json(&rows.collect::<Vec<_>>());
        let sql = per_engine!(self, settle!(sqlite), settle!(postgres));
        on!(self, |c| {
            let rows = sqlx::query(sql).bind(&rows).fetch_all(c).await?;
            rows.iter().map(|row| row.text("id")).collect()
        })
    }

    async fn record_attempts(&mut self, settlements: &[Settlement], held: &[bool]) -> Result<()> {
        macro_rules! record {
            ($engine:ident) => {
                concat!(
                    "INSERT INTO journal (id, issuer_id, at, kind, delegation_id, delivery_id, body)
                     SELECT e.value ->> 0, e.value ->> 1, CAST(e.value ->> 2 AS BIGINT), e.value ->> 3, e.value ->> 4, e.value ->> 5, e.value ->> 6
                       FROM ",
                    elements!($engine, "$1")
                )
            };
        }
        let lines = settlements.iter().zip(held).map(|(settlement, held)| {
            let event = Event::DeliveryAttempt(Attempt { held: *held, ..settlement.attempt.clone() });
            Line::of_delegation(settlement.issuer.clone(), settlement.delegation_id.as_deref(), &event)
        });
        let lines: Vec<Line> = lines.collect();
        let rows = settlements.iter().zip(&lines).map(|(settlement, line)| {
            let delivery = &settlement.attempt.delivery_id;
            (
                &settlement.entry_id,
                &*settlement.issuer,
                settlement.at,
                &line.kind,
                &line.delegation,
                delivery,
                &line.body,
            )
        });
        let rows = json(&rows.collect::<Vec<_>>());
        let sql = per_engine!(self, record!(sqlite), record!(postgres));
        on!(self, |c| {
            sqlx::query(sql).bind(&rows).execute(c).await?;
        });
        self.lines.extend(lines);
        Ok(())
    }
}

impl HostTx {
    /// Puts off a leased notice for which nothing could be sent, or ends it, and says why. `false` where the lease is not held any more.
    pub async fn put_off(
        &mut self,
        delivery_id: &str,
        worker: &str,
        (state, due_at, now): (DeliveryState, Timestamp, Timestamp),
        why: &str,
    ) -> Result<bool> {
        let ended_at = (state != DeliveryState::Queued).then_some(now);
        on!(self.0, |c| {
            let done = sqlx::query(
                "UPDATE delivery SET state = $3, due_at = $4, ended_at = $5, last_status = NULL, last_error = $6, lease = NULL, leased_until = NULL
                  WHERE id = $1 AND lease = $2 AND state = 'queued'",
            )
            .bind(delivery_id)
            .bind(worker)
            .bind(state.as_str())
            .bind(due_at)
            .bind(ended_at)
            .bind(why)
            .execute(c)
            .await?;
            Ok(done.rows_affected() == 1)
        })
    }
}
