//! Tickets.

use super::{Columns, Result, Tx, json, on, per_engine};
use crate::domain::ids::{AccountId, ClientKey};
use crate::domain::scope::Scope;
use crate::domain::ticket::Ticket;
use crate::domain::time::Timestamp;

macro_rules! ticket_columns {
    () => {
        "id, request_key, account_id, session_id, client_id, aud, scope, resources, agent_platform, agent_context_id,
         created_at, expires_at, polled_at, closed_at, consent_id"
    };
}

fn ticket(r: &impl Columns) -> Result<Ticket> {
    Ok(Ticket {
        id: r.text("id")?,
        request_key: r.text("request_key")?,
        account_id: r.id("account_id")?,
        session_id: r.text("session_id")?,
        client_key: r.id("client_id")?,
        aud: r.text("aud")?,
        scope: Scope::stored(&r.text("scope")?),
        resources: r.json("resources")?,
        agent_platform: r.maybe_text("agent_platform")?,
        agent_context_id: r.maybe_text("agent_context_id")?,
        created_at: r.time("created_at")?,
        expires_at: r.time("expires_at")?,
        polled_at: r.time("polled_at")?,
        closed_at: r.maybe_time("closed_at")?,
        consent_id: r.maybe_text("consent_id")?,
    })
}

impl Tx {
    /// Closes the question of a request if it has expired, so that it can be asked again.
    pub async fn close_expired_ticket(&mut self, request_key: &str, now: Timestamp) -> Result<()> {
        let id = self.issuer.clone();
        on!(self, |c| {
            sqlx::query(
                "UPDATE ticket SET closed_at = expires_at WHERE issuer_id = $1 AND request_key = $2 AND closed_at IS NULL AND expires_at <= $3",
            )
            .bind(&*id)
            .bind(request_key)
            .bind(now)
            .execute(c)
            .await?;
            Ok(())
        })
    }

    /// Asks a question. `false` when the same one is open.
    pub async fn add_ticket(&mut self, new: &Ticket) -> Result<bool> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let done = sqlx::query(
                "INSERT INTO ticket (id, issuer_id, request_key, account_id, session_id, client_id, aud, scope, resources, agent_platform,
                                     agent_context_id, created_at, expires_at, polled_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $12) ON CONFLICT DO NOTHING",
            )
            .bind(&new.id)
            .bind(&*id)
            .bind(&new.request_key)
            .bind(&new.account_id)
            .bind(&new.session_id)
            .bind(&new.client_key)
            .bind(&new.aud)
            .bind(new.scope.to_string())
            .bind(json(&new.resources))
            .bind(&new.agent_platform)
            .bind(&new.agent_context_id)
            .bind(new.created_at)
            .bind(new.expires_at)
            .execute(c)
            .await?;
            Ok(done.rows_affected() == 1)
        })
    }

    /// The open question of a request.
    pub async fn open_ticket(&mut self, request_key: &str) -> Result<Option<Ticket>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(concat!(
                "SELECT ",
                ticket_columns!(),
                " FROM ticket WHERE issuer_id = $1 AND request_key = $2 AND closed_at IS NULL"
            ))
            .bind(&*id)
            .bind(request_key)
            .fetch_optional(c)
            .await?;
            row.map(|r| ticket(&r)).transpose()
        })
    }

    /// A question by its name.
    pub async fn ticket(&mut self, ticket_id: &str) -> Result<Option<Ticket>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row =
                sqlx::query(concat!("SELECT ", ticket_columns!(), " FROM ticket WHERE issuer_id = $1 AND id = $2"))
                    .bind(&*id)
                    .bind(ticket_id)
                    .fetch_optional(c)
                    .await?;
            row.map(|r| ticket(&r)).transpose()
        })
    }

    /// How many questions of a client wait for a user.
    pub async fn count_open_tickets(
        &mut self,
        account_id: &AccountId,
        client: &ClientKey,
        now: Timestamp,
    ) -> Result<i64> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(
                "SELECT COUNT(*) AS n FROM ticket
                  WHERE issuer_id = $1 AND account_id = $2 AND expires_at > $3 AND closed_at IS NULL AND client_id = $4",
            )
            .bind(&*id)
            .bind(account_id)
            .bind(now)
            .bind(client)
            .fetch_one(c)
            .await?;
            row.int("n")
        })
    }

    /// A page of the questions that wait for a user, the oldest first. They live for minutes, so there are few.
    pub async fn open_tickets(
        &mut self,
        account_id: &AccountId,
        now: Timestamp,
        passed: i64,
        limit: i64,
    ) -> Result<Vec<Ticket>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(concat!(
                "SELECT ",
                ticket_columns!(),
                " FROM ticket WHERE issuer_id = $1 AND account_id = $2 AND expires_at > $3 AND closed_at IS NULL
                  ORDER BY created_at, id LIMIT $4 OFFSET $5"
            ))
            .bind(&*id)
            .bind(account_id)
            .bind(now)
            .bind(limit)
            .bind(passed)
            .fetch_all(c)
            .await?;
            rows.iter().map(ticket).collect()
        })
    }

    /// Locks a user's row until the transaction ends: of two requests that look before they write the second sees what the first wrote.
    /// `false` for one that is disabled; whoever disables one waits, and ends what is made here.
    pub async fn lock_account(&mut self, account_id: &AccountId) -> Result<bool> {
        macro_rules! select {
            ($lock:literal) => {
                concat!("SELECT id FROM account WHERE issuer_id = $1 AND id = $2 AND disabled_at IS NULL", $lock)
            };
        }
        let id = self.issuer.clone();
        // SQLite has one writer anyway.
        let sql = per_engine!(self, select!(""), select!(" FOR UPDATE"));
        on!(self, |c| Ok(sqlx::query(sql).bind(&*id).bind(account_id).fetch_optional(c).await?.is_some()))
    }

    /// The same of a client, whose row many may lock at a time; after the user's.
    pub async fn lock_client(&mut self, client: &ClientKey) -> Result<bool> {
        macro_rules! select {
            ($lock:literal) => {
                concat!("SELECT id FROM client WHERE issuer_id = $1 AND id = $2 AND disabled_at IS NULL", $lock)
            };
        }
        let id = self.issuer.clone();
        let sql = per_engine!(self, select!(""), select!(" FOR SHARE"));
        on!(self, |c| Ok(sqlx::query(sql).bind(&*id).bind(client).fetch_optional(c).await?.is_some()))
    }

    /// Locks what a question is about, in the order that everyone keeps: its user, its client, and its service, if there is a row of it. `false`
    /// where the user or the client is disabled.
    pub async fn lock_asked(&mut self, account_id: &AccountId, client: &ClientKey, aud: &str) -> Result<bool> {
        macro_rules! asked {
            ($change:literal, $share:literal) => {
                concat!(
                    "WITH l1 AS MATERIALIZED (SELECT id FROM account WHERE issuer_id = $1 AND id = $2 AND disabled_at IS NULL",
                    $change,
                    "), l2 AS MATERIALIZED (SELECT id FROM client WHERE issuer_id = $1 AND id = $3 AND disabled_at IS NULL",
                    $share,
                    "), l3 AS MATERIALIZED (SELECT id FROM service WHERE issuer_id = $1 AND audience = $4",
                    $share,
                    ") SELECT (SELECT COUNT(*) FROM l1) AS account, (SELECT COUNT(*) FROM l2) AS client, (SELECT COUNT(*) FROM l3) AS service"
                )
            };
        }
        let id = self.issuer.clone();
        let sql = per_engine!(self, asked!("", ""), asked!(" FOR UPDATE", " FOR SHARE"));
        on!(self, |c| {
            let row = sqlx::query(sql).bind(&*id).bind(account_id).bind(client).bind(aud).fetch_one(c).await?;
            Ok(row.int("account")? == 1 && row.int("client")? == 1)
        })
    }

    /// Locks what a decision is made by, in the order that everyone keeps, until the transaction ends. `false` where the user, the client or
    /// the session is no longer what it was.
    pub async fn lock_deciders(
        &mut self,
        account_id: &AccountId,
        client: &ClientKey,
        session_id: &str,
        aud: &str,
        now: Timestamp,
    ) -> Result<bool> {
        // SQLite has one writer anyway.
        macro_rules! deciders {
            ($change:literal, $share:literal) => {
                concat!(
                    "WITH l1 AS MATERIALIZED (SELECT id FROM account WHERE issuer_id = $1 AND id = $2 AND disabled_at IS NULL",
                    $change,
                    "), l2 AS MATERIALIZED (SELECT id FROM client WHERE issuer_id = $1 AND id = $3 AND disabled_at IS NULL",
                    $share,
                    "), l3 AS MATERIALIZED (SELECT id FROM session WHERE issuer_id = $1 AND id = $4 AND account_id = $2
                                               AND ended_at IS NULL AND expires_at > $6",
                    $share,
                    "), l4 AS MATERIALIZED (SELECT id FROM service WHERE issuer_id = $1 AND audience = $5",
                    $share,
                    ") SELECT (SELECT COUNT(*) FROM l1) AS account, (SELECT COUNT(*) FROM l2) AS client,
                              (SELECT COUNT(*) FROM l3) AS session, (SELECT COUNT(*) FROM l4) AS service"
                )
            };
        }
        let id = self.issuer.clone();
        let sql = per_engine!(self, deciders!("", ""), deciders!(" FOR NO KEY UPDATE", " FOR SHARE"));
        on!(self, |c| {
            let row = sqlx::query(sql).bind(&*id).bind(account_id).bind(client).bind(session_id).bind(aud).bind(now);
            let row = row.fetch_one(c).await?;
            Ok(row.int("account")? == 1 && row.int("client")? == 1 && row.int("session")? == 1)
        })
    }

    /// Notes that the agent asked again.
    pub async fn polled(&mut self, ticket_id: &str, now: Timestamp) -> Result<()> {
        let id = self.issuer.clone();
        on!(self, |c| {
            sqlx::query("UPDATE ticket SET polled_at = $3 WHERE issuer_id = $1 AND id = $2")
                .bind(&*id)
                .bind(ticket_id)
                .bind(now)
                .execute(c)
                .await?;
            Ok(())
        })
    }

    /// Decides a question of a user. `false` when it was decided, has expired, or is not theirs.
    pub async fn close_ticket(
        &mut self,
        ticket_id: &str,
        account_id: &AccountId,
        consent_id: &str,
        now: Timestamp,
    ) -> Result<bool> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let done = sqlx::query(
                "UPDATE ticket SET closed_at = $5, consent_id = $4
                  WHERE issuer_id = $1 AND id = $2 AND account_id = $3 AND closed_at IS NULL AND expires_at > $5",
            )
            .bind(&*id)
            .bind(ticket_id)
            .bind(account_id)
            .bind(consent_id)
            .bind(now)
            .execute(c)
            .await?;
            Ok(done.rows_affected() == 1)
        })
    }
}
