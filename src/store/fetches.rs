//! Who has fetched which key.

use super::{Columns, Result, Tx, on};
use crate::domain::fetcher::{FetchRecord, Fetcher, MAX_USER_AGENTS};
use crate::domain::ids::Kid;
use crate::domain::time::Timestamp;
use crate::fetches::Fetched;

/// Most rows of an issuer: a few keys each of some hundred fetchers. Whoever comes when they are taken is not counted.
const MAX_ROWS: i64 = 4000;

impl Tx {
    /// Adds to what is on record. Says how many were not counted because there are too many.
    pub async fn add_fetches(&mut self, fetched: &[&Fetched]) -> Result<usize> {
        let room = MAX_ROWS - self.count_fetches().await?;
        let (mut added, mut left_out) = (0, 0);
        for &fetch in fetched {
            let others = Fetched { fetcher: fetch.fetcher.others(), ..fetch.clone() };
            let agents = self.user_agents_at(&fetch.fetcher.address).await?;
            let is_known = agents.iter().any(|agent| **agent == *fetch.fetcher.user_agent);
            let fetch = if is_known || agents.len() < MAX_USER_AGENTS { fetch } else { &others };
            let about_ourselves = [Kid::from("")];
            let kids = if fetch.kids.is_empty() { &about_ourselves } else { &fetch.kids[..] };
            for kid in kids {
                if !self.add_to_fetch(fetch, kid).await? {
                    if added >= room {
                        left_out += 1;
                    } else {
                        self.add_fetch(fetch, kid).await?;
                        added += 1;
                    }
                }
            }
        }
        Ok(left_out)
    }

    async fn user_agents_at(&mut self, address: &str) -> Result<Vec<String>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let sql = "SELECT DISTINCT user_agent FROM key_fetch WHERE issuer_id = $1 AND address = $2";
            let rows = sqlx::query(sql).bind(&*id).bind(address).fetch_all(c).await?;
            rows.iter().map(|r| r.text("user_agent")).collect()
        })
    }

    async fn count_fetches(&mut self) -> Result<i64> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let sql = "SELECT COUNT(*) AS n FROM (SELECT 1 FROM key_fetch WHERE issuer_id = $1 LIMIT $2) AS few";
            sqlx::query(sql).bind(&*id).bind(MAX_ROWS).fetch_one(c).await?.int("n")
        })
    }

    async fn add_to_fetch(&mut self, fetch: &Fetched, kid: &Kid) -> Result<bool> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let done = sqlx::query(
                "UPDATE key_fetch SET count = count + $5, last_at = $6
                  WHERE issuer_id = $1 AND address = $2 AND user_agent = $3 AND kid = $4",
            )
            .bind(&*id)
            .bind(&*fetch.fetcher.address)
            .bind(&*fetch.fetcher.user_agent)
            .bind(kid)
            .bind(fetch.count)
            .bind(fetch.last_at)
            .execute(c)
            .await?;
            Ok(done.rows_affected() == 1)
        })
    }

    async fn add_fetch(&mut self, fetch: &Fetched, kid: &Kid) -> Result<()> {
        let id = self.issuer.clone();
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO key_fetch (issuer_id, address, user_agent, kid, count, last_at) VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (issuer_id, address, user_agent, kid)
                 DO UPDATE SET count = key_fetch.count + excluded.count, last_at = excluded.last_at",
            )
            .bind(&*id)
            .bind(&*fetch.fetcher.address)
            .bind(&*fetch.fetcher.user_agent)
            .bind(kid)
            .bind(fetch.count)
            .bind(fetch.last_at)
            .execute(c)
            .await?;
            Ok(())
        })
    }

    /// What was fetched since a time.
    pub async fn fetches(&mut self, since: Timestamp) -> Result<Vec<FetchRecord>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(
                "SELECT address, user_agent, kid, count, last_at FROM key_fetch WHERE issuer_id = $1 AND last_at >= $2",
            )
            .bind(&*id)
            .bind(since)
            .fetch_all(c)
            .await?;
            rows.iter().map(record).collect()
        })
    }

    /// The audiences of the enabled services of which something is known, those first that an operator answers for; at most `limit`.
    pub async fn audiences(&mut self, limit: i64) -> Result<Vec<String>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(
                "SELECT audience FROM service WHERE issuer_id = $1 AND disabled_at IS NULL AND origin <> 'unknown'
                  ORDER BY CASE WHEN origin = 'discovered' THEN 1 ELSE 0 END, audience LIMIT $2",
            )
            .bind(&*id)
            .bind(limit)
            .fetch_all(c)
            .await?;
            rows.iter().map(|r| r.text("audience")).collect()
        })
    }
}

fn record(r: &impl Columns) -> Result<FetchRecord> {
    let kid: Kid = r.id("kid")?;
    Ok(FetchRecord {
        fetcher: Fetcher { address: r.text("address")?.into(), user_agent: r.text("user_agent")?.into() },
        kid: (!kid.as_str().is_empty()).then_some(kid),
        count: r.int("count")?,
        last_at: r.time("last_at")?,
    })
}
