//! What stands and is to be withdrawn in bulk.

use sqlx::AssertSqlSafe;

use super::{Columns, Result, Tx, on};
use crate::domain::delegation::Selection;
use crate::domain::time::Timestamp;

/// Where a selection is found, and the values that this asks for after the first `before`: each filter has an index that knows what
/// stands and ends with the delegation. `$1` is the issuer.
fn found<'a>(selection: &'a Selection, before: usize) -> (String, Vec<&'a str>) {
    let Selection { account_id, sub, aud, client_id, used_since } = selection;
    let mut values = Vec::new();
    let mut value = |text: &'a str| {
        values.push(text);
        format!("${}", values.len() + before)
    };
    let client = client_id.as_ref().map(|id| value(id.as_str()));
    let aud = aud.as_deref().map(&mut value);
    let account = match (account_id, sub) {
        (None, None) => None,
        (Some(id), None) => Some(value(id.as_str())),
        (id, Some(sub)) => {
            let sub = value(sub.as_str());
            let and = id.as_ref().map(|id| format!(" AND a.id = {}", value(id.as_str()))).unwrap_or_default();
            Some(format!("(SELECT a.id FROM account a WHERE a.issuer_id = $1 AND a.sub = {sub}{and})"))
        }
    };
    let key = if client.is_some() { "x.delegation_id" } else { "x.id" };
    let narrowed = match (account, aud) {
        (None, None) => String::new(),
        (Some(account), None) => format!(" AND x.account_id = {account}"),
        (None, Some(aud)) => format!(" AND x.aud = {aud}"),
        // There is one at most, which would be looked for among all of the user's.
        (Some(account), Some(aud)) => format!(
            " AND x.issuer_id = $1 AND {key} = (SELECT y.id FROM delegation y WHERE y.issuer_id = $1 AND y.account_id = {account} AND y.aud = {aud})"
        ),
    };
    let used = |Timestamp(since)| format!("d.last_used_at >= {since}");
    let sql = match client {
        None => {
            let used = used_since.map_or_else(String::new, |since| format!(" AND {}", used(since)).replace("d.", "x."));
            format!("SELECT x.id FROM delegation x WHERE x.issuer_id = $1 AND x.is_over = 0{narrowed}{used}")
        }
        Some(client) => {
            let used = used_since.map_or_else(String::new, |since| {
                format!(" AND 0 < (SELECT COUNT(*) FROM delegation d WHERE d.id = x.delegation_id AND {})", used(since))
            });
            format!(
                "SELECT x.delegation_id AS id FROM consent x
                  WHERE x.client_id = (SELECT k.id FROM client k WHERE k.issuer_id = $1 AND k.client_id = {client})
                    AND x.over_at IS NULL AND x.delegation_id IS NOT NULL{narrowed}{used}"
            )
        }
    };
    (sql, values)
}

/// A page of them: `$2` is the last id of the page before, `$3` the most rows.
fn page_of(selection: &Selection) -> (String, Vec<&str>) {
    let (found, values) = found(selection, 3);
    let by = if selection.client_id.is_some() { "x.delegation_id" } else { "x.id" };
    let group = if selection.client_id.is_some() { " GROUP BY x.delegation_id" } else { "" };
    (format!("{found} AND {by} > $2{group} ORDER BY {by} LIMIT $3"), values)
}

fn count_of(selection: &Selection) -> (String, Vec<&str>) {
    let (found, values) = found(selection, 1);
    let group = if selection.client_id.is_some() { " GROUP BY x.delegation_id" } else { "" };
    (format!("SELECT COUNT(*) AS n FROM ({found}{group}) AS found"), values)
}

impl Tx {
    /// The ids of the delegations that stand of a selection, in their order, after one. What ends is no longer among them.
    pub async fn standing(&mut self, selection: &Selection, after: &str, limit: i64) -> Result<Vec<String>> {
        let id = self.issuer.clone();
        let (sql, values) = page_of(selection);
        on!(self, |c| {
            // Made of the texts above, and of a number.
            let mut query = sqlx::query(AssertSqlSafe(sql)).bind(&*id).bind(after).bind(limit);
            for value in values {
                query = query.bind(value);
            }
            query.fetch_all(c).await?.iter().map(|r| r.text("id")).collect()
        })
    }

    /// How many that are in all.
    pub async fn count_standing(&mut self, selection: &Selection) -> Result<u64> {
        let id = self.issuer.clone();
        let (sql, values) = count_of(selection);
        on!(self, |c| {
            let mut query = sqlx::query(AssertSqlSafe(sql)).bind(&*id);
            for value in values {
                query = query.bind(value);
            }
            Ok(query.fetch_one(c).await?.int("n")?.unsigned_abs())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Connection, Database};

    /// Neither what has ended is looked at, nor what others have; and a page begins where the last one ended.
    #[tokio::test]
    async fn each_filter_has_its_index() {
        let folder = tempfile::TempDir::new().unwrap();
        let database = Database::sqlite(&folder.path().join("avouch.db")).await.unwrap();
        let mut tx = database.begin().await.unwrap();
        let Connection::Sqlite(c) = tx.0.connection() else { panic!("it is SQLite") };
        let sub = || Some("s".to_owned().try_into().unwrap());
        let client_id = || Some("c".to_owned().try_into().unwrap());
        let aud = || Some("a".to_owned());
        let all = Selection::default();
        let cases = [
            (all.clone(), "delegation_over (issuer_id=? AND is_over=? AND id>?)"),
            (
                Selection { aud: aud(), ..all.clone() },
                "delegation_service_over (issuer_id=? AND aud=? AND is_over=? AND id>?)",
            ),
            (Selection { sub: sub(), ..all.clone() }, "delegation_account_over (account_id=? AND is_over=? AND id>?)"),
            (
                Selection { client_id: client_id(), ..all.clone() },
                "consent_client_standing (client_id=? AND delegation_id>?)",
            ),
            (
                Selection { client_id: client_id(), aud: aud(), ..all.clone() },
                "consent_client_service_standing (client_id=? AND aud=? AND delegation_id>?)",
            ),
            (
                Selection { client_id: client_id(), sub: sub(), ..all.clone() },
                "consent_client_account_standing (client_id=? AND account_id=? AND delegation_id>?)",
            ),
        ];
        for (selection, index) in cases {
            let (page, values) = page_of(&selection);
            let mut explain =
                sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {page}"))).bind("i").bind("").bind(1);
            for value in values {
                explain = explain.bind(value);
            }
            let rows = explain.fetch_all(&mut *c).await.unwrap();
            let steps: Vec<String> = rows.iter().map(|row| row.text("detail").unwrap()).collect();
            let found = steps.iter().any(|step| step.starts_with("SEARCH x") && step.contains(index));
            assert!(found && steps.iter().all(|step| !step.contains("SCAN")), "{selection:?} {steps:#?}");
            if index.ends_with(')') {
                assert!(steps.iter().all(|step| !step.contains("TEMP B-TREE")), "{selection:?} {steps:#?}");
            }
        }
    }
}
