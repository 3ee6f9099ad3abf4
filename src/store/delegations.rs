//! Delegations: one row per user and audience.

use sqlx::AssertSqlSafe;

use super::{Columns, HostTx, Result, Tx, on};
use crate::domain::delegation::{Delegation, Filter, Status};
use crate::domain::ids::{AccountId, Subject};
use crate::domain::time::Timestamp;

macro_rules! delegation_query {
    ($rest:literal) => {
        concat!("SELECT ", delegation_columns!(), " FROM delegation d WHERE d.issuer_id = $1 AND ", $rest)
    };
}

macro_rules! delegation_columns {
    () => {
        "d.id, d.account_id, d.iss, d.sub, d.aud, d.created_at, d.last_used_at, d.mint_count, d.last_exp, d.ended_at,
         (SELECT COALESCE(k.client_name, k.client_id) FROM client k WHERE k.id = d.last_client_id) AS last_client,
         (SELECT COUNT(*) FROM delivery o WHERE o.delegation_id = d.id AND o.state = 'queued') AS pending_notices"
    };
}

/// How many notices of a delegation are on their way. Counted, as are the others below, since PostgreSQL would make a join of EXISTS, and read
/// all of a table for one page.
const WAITING: &str =
    "(SELECT COUNT(*) FROM delivery o WHERE o.issuer_id = $1 AND o.delegation_id = d.id AND o.state = 'queued')";

/// The statement of a page of a list, narrowed by whatever the filter names and nothing else, so that each has an index that ends with the
/// id. `$1` is the issuer, `$2` the last id of the page before, `$3` the most rows; then come the values that it answers with.
fn page_of<'a>(filter: &Filter<'a>) -> (String, Vec<&'a str>) {
    let mut values = Vec::new();
    let mut value = |text: &'a str| {
        values.push(text);
        format!("${}", values.len() + 3)
    };
    let account = match (filter.account_id, filter.sub) {
        (None, None) => None,
        (Some(id), None) => Some(value(id.as_str())),
        (id, Some(sub)) => {
            let and = id.map(|id| format!(" AND a.id = {}", value(id.as_str()))).unwrap_or_default();
            Some(format!(
                "(SELECT a.id FROM account a WHERE a.issuer_id = $1 AND a.sub = {}{and})",
                value(sub.as_str())
            ))
        }
    };
    let aud = filter.aud.map(&mut value);
    let client = filter.client_id.map(|id| {
        format!("(SELECT k.id FROM client k WHERE k.issuer_id = $1 AND k.client_id = {})", value(id.as_str()))
    });
    let and = |column: &str, value: &Option<String>| {
        value.as_ref().map(|value| format!(" AND {column} = {value}")).unwrap_or_default()
    };
    let of_client = client.as_ref().map_or_else(String::new, |client| {
        format!(" AND 0 < (SELECT COUNT(*) FROM consent s WHERE s.delegation_id = d.id AND s.client_id = {client})")
    });
    let in_state = match filter.status {
        None => String::new(),
        Some(Status::Active) => " AND d.is_over = 0".to_owned(),
        Some(Status::Withdrawing) => format!(" AND d.is_over = 1 AND 0 < {WAITING}"),
        Some(Status::Withdrawn) => format!(" AND d.is_over = 1 AND 0 = {WAITING}"),
    };
    let (of_account, of_service) = (and("d.account_id", &account), and("d.aud", &aud));
    let columns = delegation_columns!();
    // The ids of a page, each found once. CROSS JOIN tells SQLite, which knows nothing of sizes, where to begin.
    let among = |found: &str| {
        format!(
            "SELECT {columns} FROM ({found} LIMIT $3) p CROSS JOIN delegation d
              WHERE d.id = p.delegation_id AND d.issuer_id = $1 ORDER BY d.id"
        )
    };
    let sql = match (&account, &aud, &client, filter.status) {
        // There is one at most, which PostgreSQL would look for among all of the user's.
        (Some(account), Some(aud), ..) => format!(
            "SELECT {columns} FROM delegation d
              WHERE d.id = (SELECT x.id FROM delegation x WHERE x.issuer_id = $1 AND x.account_id = {account} AND x.aud = {aud})
                AND d.id > $2{in_state}{of_client} LIMIT $3"
        ),
        (.., Some(Status::Withdrawing)) => among(&format!(
            "SELECT DISTINCT w.delegation_id FROM delivery w
              WHERE w.issuer_id = $1 AND w.state = 'queued' AND w.delegation_id > $2
                AND 0 < (SELECT COUNT(*) FROM delegation d WHERE d.id = w.delegation_id AND d.is_over = 1{of_account}{of_service}{of_client})
              ORDER BY w.delegation_id"
        )),
        (.., Some(client), status) => {
            let in_state = status.map_or_else(String::new, |_| {
                format!(" AND 0 < (SELECT COUNT(*) FROM delegation d WHERE d.id = s.delegation_id{in_state})")
            });
            among(&format!(
                "SELECT DISTINCT s.delegation_id FROM consent s WHERE s.client_id = {client} AND s.delegation_id > $2{}{}{in_state}
                  ORDER BY s.delegation_id",
                and("s.account_id", &account),
                and("s.aud", &aud)
            ))
        }
        (_, _, None, _) => format!(
            "SELECT {columns} FROM delegation d WHERE d.issuer_id = $1 AND d.id > $2{of_account}{of_service}{in_state}
              ORDER BY d.id LIMIT $3"
        ),
    };
    (sql, values)
}

fn delegation(r: &impl Columns) -> Result<Delegation> {
    Ok(Delegation {
        id: r.text("id")?,
        account_id: r.id("account_id")?,
        iss: r.text("iss")?,
        sub: r.id("sub")?,
        aud: r.text("aud")?,
        created_at: r.time("created_at")?,
        last_used_at: r.maybe_time("last_used_at")?,
        last_client: r.maybe_text("last_client")?,
        mint_count: r.int("mint_count")?,
        last_exp: r.time("last_exp")?,
        ended_at: r.maybe_time("ended_at")?,
        pending_notices: r.int("pending_notices")?,
    })
}

impl Tx {
    /// A delegation by its name.
    pub async fn delegation(&mut self, delegation_id: &str) -> Result<Option<Delegation>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row =
                sqlx::query(delegation_query!("d.id = $2")).bind(&*id).bind(delegation_id).fetch_optional(c).await?;
            row.map(|r| delegation(&r)).transpose()
        })
    }

    /// The delegation of a user at a service.
    pub async fn delegation_for(&mut self, account_id: &AccountId, aud: &str) -> Result<Option<Delegation>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(delegation_query!("d.account_id = $2 AND d.aud = $3"))
                .bind(&*id)
                .bind(account_id)
                .bind(aud)
                .fetch_optional(c)
                .await?;
            row.map(|r| delegation(&r)).transpose()
        })
    }

    /// A page of a user's delegations that are active, or of those that are over: the newest first, of those whose ids are before `before`.
    pub async fn latest_delegations(
        &mut self,
        account_id: &AccountId,
        are_over: bool,
        before: &str,
        limit: i64,
    ) -> Result<Vec<Delegation>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(delegation_query!(
                "d.account_id = $2 AND d.is_over = $3 AND d.id < $4 ORDER BY d.id DESC LIMIT $5"
            ))
            .bind(&*id)
            .bind(account_id)
            .bind(i64::from(are_over))
            .bind(before)
            .bind(limit)
            .fetch_all(c)
            .await?;
            rows.iter().map(delegation).collect()
        })
    }

    /// A page of delegations, by id.
    pub async fn delegations(&mut self, filter: Filter<'_>) -> Result<Vec<Delegation>> {
        let id = self.issuer.clone();
        let (sql, values) = page_of(&filter);
        on!(self, |c| {
            // Made of the texts above alone.
            let mut query =
                sqlx::query(AssertSqlSafe(sql)).bind(&*id).bind(filter.after.unwrap_or_default()).bind(filter.limit);
            for value in values {
                query = query.bind(value);
            }
            query.fetch_all(c).await?.iter().map(delegation).collect()
        })
    }

    /// The delegation of a user at a service, made or made active again; `iss` and `sub` count only for a new one.
    pub async fn open_delegation(
        &mut self,
        new_id: &str,
        account_id: &AccountId,
        iss: &str,
        sub: &Subject,
        aud: &str,
        now: Timestamp,
    ) -> Result<String> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(
                "INSERT INTO delegation (id, issuer_id, account_id, iss, sub, aud, created_at, mint_count, last_exp)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0)
                 ON CONFLICT (issuer_id, account_id, aud) DO UPDATE SET ended_at = NULL
                 RETURNING id",
            )
            .bind(new_id)
            .bind(&*id)
            .bind(account_id)
            .bind(iss)
            .bind(sub)
            .bind(aud)
            .bind(now)
            .fetch_one(c)
            .await?;
            row.text("id")
        })
    }
}

impl HostTx {
    /// (Our key of the issuer, id) of the delegations that have a consent whose time is over, those first that are over for longest.
    /// At most `limit`, after the first `passed`; one may come twice.
    pub async fn lapsed_delegations(
        &mut self,
        now: Timestamp,
        passed: i64,
        limit: i64,
    ) -> Result<Vec<(String, String)>> {
        on!(self.0, |c| {
            let rows = sqlx::query(
                "SELECT issuer_id, delegation_id FROM consent
                  WHERE ended_at IS NULL AND until_at IS NOT NULL AND until_at <= $1 AND delegation_id IS NOT NULL
                  ORDER BY until_at, id LIMIT $2 OFFSET $3",
            )
            .bind(now)
            .bind(limit)
            .bind(passed)
            .fetch_all(c)
            .await?;
            rows.iter().map(|r| Ok((r.text("issuer_id")?, r.text("delegation_id")?))).collect()
        })
    }
}
