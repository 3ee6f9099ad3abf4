//! The journal: append-only.

use serde_json::Value;

use super::{Columns as _, Result, Tx, on};

/// One row of it.
#[derive(Debug, Default)]
pub struct Entry<'a> {
    /// Sorts by time.
    pub id: String,
    /// Seconds since the epoch.
    pub at: i64,
    /// What happened, such as `consent.given`.
    pub kind: &'a str,
    /// Whose.
    pub account_id: Option<&'a str>,
    /// By which client (our key).
    pub client_id: Option<&'a str>,
    /// Under which record.
    pub delegation_id: Option<&'a str>,
    /// By which decision.
    pub consent_id: Option<&'a str>,
    /// What else is to be known: never a secret, never a token.
    pub body: Value,
}

/// One attempt at telling a service.
#[derive(Clone, Debug)]
pub struct Attempted {
    /// Seconds since the epoch.
    pub at: i64,
    /// At which notice.
    pub delivery_id: String,
    /// The answer.
    pub status: Option<i64>,
    /// Why there was none.
    pub error: Option<String>,
}

impl Tx {
    /// Appends a row.
    pub async fn record(&mut self, entry: Entry<'_>) -> Result<()> {
        let id = self.issuer.clone();
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO journal (id, issuer_id, at, kind, account_id, client_id, delegation_id, consent_id, body)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            )
            .bind(&entry.id)
            .bind(&*id)
            .bind(entry.at)
            .bind(entry.kind)
            .bind(entry.account_id)
            .bind(entry.client_id)
            .bind(entry.delegation_id)
            .bind(entry.consent_id)
            .bind(entry.body.to_string())
            .execute(c)
            .await?;
            Ok(())
        })
    }

    /// The attempts at telling a service of a delegation that ended, the oldest first, looked for among the newest `most` rows under it:
    /// the assertions, which may be very many, are all older.
    pub async fn attempts(&mut self, delegation_id: &str, most: i64) -> Result<Vec<Attempted>> {
        let id = self.issuer.clone();
        let rows: Vec<(i64, Value)> = on!(self, |c| {
            let rows = sqlx::query(
                "SELECT at, body FROM (SELECT id, kind, at, body FROM journal WHERE issuer_id = $1 AND delegation_id = $2
                                        ORDER BY id DESC LIMIT $3) AS newest
                  WHERE kind = 'delivery.attempt' ORDER BY id",
            )
            .bind(&*id)
            .bind(delegation_id)
            .bind(most)
            .fetch_all(c)
            .await?;
            rows.iter().map(|r| Ok((r.int("at")?, r.json("body")?))).collect::<Result<_>>()?
        });
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let attempted = |(at, body): (i64, Value)| Attempted {
            at,
            delivery_id: text(&body["delivery"]).unwrap_or_default(),
            status: body["status"].as_i64(),
            error: text(&body["error"]),
        };
        Ok(rows.into_iter().map(attempted).collect())
    }

    /// Kind, time and body of the rows under a delegation, the oldest first.
    pub async fn history(&mut self, delegation_id: &str) -> Result<Vec<(String, i64, Value)>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(
                "SELECT kind, at, body FROM journal WHERE issuer_id = $1 AND delegation_id = $2 ORDER BY at, id",
            )
            .bind(&*id)
            .bind(delegation_id)
            .fetch_all(c)
            .await?;
            rows.iter().map(|r| Ok((r.text("kind")?, r.int("at")?, r.json("body")?))).collect()
        })
    }
}
