//! What is given under a user, client or service beside delegations, and ends with it, a bounded number at a time: sessions, token families,
//! leave to sign in, open questions.

use super::disabled::name;
use super::{Columns, Result, Tx, on, per_engine};
use crate::domain::delegation::Removed;
use crate::domain::time::Timestamp;

/// Rows that are alive under one thing: `$1` is the issuer, `$2` what they stand under, `$3` the time, `$4` the most rows. For each engine
/// what finds one and what ends some.
struct Kind {
    sqlite: [&'static str; 2],
    postgres: [&'static str; 2],
    /// Whether clients are told of the end of each.
    is_session: bool,
}

/// Rows of a table that are alive while a column is null, by another column, in the order of the index that holds these alone. PostgreSQL leaves
/// a column that is equal to something out of an order, and would go through all rows of the table by their ids; SQLite knows too little of a
/// range to prefer this index.
macro_rules! kind {
    ($table:literal, $ended:literal, $by:literal, $order:literal) => {
        Kind {
            sqlite: kind!(@ $table, $ended, $order, ["= $2"], $by, "IN (", ")"),
            postgres: kind!(@ $table, $ended, $order, ["BETWEEN $2 AND $2"], $by, "= ANY (ARRAY(", "))"),
            is_session: false,
        }
    };
    (@ $table:literal, $ended:literal, $order:literal, [$is:literal], $by:literal, $open:literal, $close:literal) => {
        [
            concat!(kind!(@alive $table, $ended, $order, $is, $by), " LIMIT 1"),
            concat!(
                "UPDATE ", $table, " SET ", $ended, " = $3 WHERE id ", $open, kind!(@alive $table, $ended, $order, $is, $by), " LIMIT $4",
                $close, " RETURNING id"
            ),
        ]
    };
    (@alive $table:literal, $ended:literal, $order:literal, $is:literal, $by:literal) => {
        concat!(
            "SELECT id FROM ", $table, " WHERE issuer_id = $1 AND ", $by, " ", $is, " AND ", $ended, " IS NULL ORDER BY ", $order
        )
    };
}

const OF_USER: [Kind; 2] = [
    Kind { is_session: true, ..kind!("session", "ended_at", "account_id", "account_id, id") },
    kind!("token_family", "ended_at", "account_id", "account_id, client_id, id"),
];
const OF_CLIENT: [Kind; 3] = [
    kind!("token_family", "ended_at", "client_id", "client_id, id"),
    kind!("signin_consent", "ended_at", "client_id", "client_id, id"),
    kind!("ticket", "closed_at", "client_id", "client_id, id"),
];
const OF_SERVICE: [Kind; 1] = [kind!("ticket", "closed_at", "aud", "issuer_id, aud, id")];

fn kinds(what: &Removed) -> &'static [Kind] {
    match what {
        Removed::User(_) => &OF_USER,
        Removed::Client(_) => &OF_CLIENT,
        Removed::Service(_) => &OF_SERVICE,
    }
}

/// What a turn ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// How many rows.
    pub rows: usize,
    /// The sessions among them.
    pub sessions: Vec<String>,
}

impl Tx {
    /// Whether anything is given under it.
    pub async fn is_given_under(&mut self, what: &Removed) -> Result<bool> {
        for kind in kinds(what) {
            let [find, _] = per_engine!(self, kind.sqlite, kind.postgres);
            let id = self.issuer.clone();
            let found =
                on!(self, |c| { sqlx::query(find).bind(&*id).bind(name(what)).fetch_optional(c).await?.is_some() });
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Ends some of what is given under it: at most `limit` rows of one kind. Nothing was left when it ended nothing.
    pub async fn end_given_under(&mut self, what: &Removed, now: Timestamp, limit: i64) -> Result<Ended> {
        for kind in kinds(what) {
            let [_, end] = per_engine!(self, kind.sqlite, kind.postgres);
            let id = self.issuer.clone();
            let mut ids: Vec<String> = on!(self, |c| {
                let rows = sqlx::query(end).bind(&*id).bind(name(what)).bind(now).bind(limit).fetch_all(c).await?;
                rows.iter().map(|row| row.text("id")).collect::<Result<_>>()?
            });
            if !ids.is_empty() {
                ids.sort_unstable();
                return Ok(Ended { rows: ids.len(), sessions: if kind.is_session { ids } else { Vec::new() } });
            }
        }
        Ok(Ended::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Connection, Database};

    /// By an index that holds what is alive under it and nothing else, in its order.
    #[tokio::test]
    async fn each_kind_has_its_index() {
        let folder = tempfile::TempDir::new().unwrap();
        let database = Database::sqlite(&folder.path().join("avouch.db")).await.unwrap();
        let mut tx = database.begin().await.unwrap();
        let Connection::Sqlite(c) = tx.0.connection() else { panic!("it is SQLite") };
        let indexes = [
            "session USING INDEX session_account (account_id=?)",
            "token_family USING INDEX token_family_account (account_id=?)",
            "token_family USING INDEX token_family_client (client_id=?)",
            "signin_consent USING INDEX signin_consent_client (client_id=?)",
            "ticket USING INDEX ticket_client (client_id=?)",
            "ticket USING INDEX ticket_service (issuer_id=? AND aud=?)",
        ];
        for (kind, index) in OF_USER.iter().chain(&OF_CLIENT).chain(&OF_SERVICE).zip(indexes) {
            for sql in kind.sqlite {
                let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
                let rows = sqlx::query(explain).bind("i").bind("x").bind(0).bind(1).fetch_all(&mut *c).await.unwrap();
                let steps: Vec<String> = rows.iter().map(|row| row.text("detail").unwrap()).collect();
                let found = steps.iter().any(|step| step.replace("COVERING ", "").contains(index));
                assert!(
                    found && steps.iter().all(|step| !step.contains("SCAN") && !step.contains("TEMP")),
                    "{steps:#?}"
                );
            }
        }
    }
}
