//! Access tokens on their own, without the family that they belong to.

use super::{Columns, Result, Tx, on};
use crate::domain::ids::{AccountId, ClientKey};

impl Tx {
    /// Whose an access token is, and which client's, alive or not.
    pub async fn access_token_owner(&mut self, hash: &str) -> Result<Option<(AccountId, ClientKey)>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(
                "SELECT f.account_id, f.client_id FROM access_token t JOIN token_family f ON f.id = t.family_id
                  WHERE t.issuer_id = $1 AND t.hash = $2",
            )
            .bind(&*id)
            .bind(hash)
            .fetch_optional(c)
            .await?;
            row.map(|r| Ok((r.id("account_id")?, r.id("client_id")?))).transpose()
        })
    }

    /// Ends one access token. `false` when there is none.
    pub async fn delete_access_token(&mut self, hash: &str) -> Result<bool> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let query =
                sqlx::query("DELETE FROM access_token WHERE issuer_id = $1 AND hash = $2").bind(&*id).bind(hash);
            Ok(query.execute(c).await?.rows_affected() == 1)
        })
    }
}
