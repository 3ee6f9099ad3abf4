//! Which clients a session has signed its user in to, and has to tell when it ends.

use super::json_row::one_of;
use super::{Columns, Result, Tx, json, on};
use crate::domain::ids::{AccountId, ClientId, ClientKey, Subject};
use crate::domain::time::Timestamp;

/// A client that is to be told of the end of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logout {
    /// The session.
    pub sid: String,
    /// Whose, by our key.
    pub account_id: AccountId,
    /// Whose.
    pub sub: Subject,
    /// At which issuer.
    pub iss: String,
    /// Our key of the client.
    pub client: ClientKey,
    /// Which client.
    pub client_id: ClientId,
    /// Where it wants to be told.
    pub uri: String,
}

/// Of sessions that had not expired by `$2`, the clients that can be told.
macro_rules! logouts {
    () => {
        "SELECT s.id AS sid, a.id AS account_id, a.sub, i.url AS iss, k.id AS client_key, k.client_id, k.backchannel_logout_uri AS uri
           FROM session s JOIN session_client x ON x.session_id = s.id JOIN client k ON k.id = x.client_id
           JOIN account a ON a.id = s.account_id JOIN issuer i ON i.id = s.issuer_id
          WHERE s.issuer_id = $1 AND s.expires_at > $2 AND k.backchannel_logout_uri IS NOT NULL AND k.disabled_at IS NULL"
    };
}

fn logout(r: &impl Columns) -> Result<Logout> {
    Ok(Logout {
        sid: r.text("sid")?,
        account_id: r.id("account_id")?,
        sub: r.id("sub")?,
        iss: r.text("iss")?,
        client: r.id("client_key")?,
        client_id: r.id("client_id")?,
        uri: r.text("uri")?,
    })
}

impl Tx {
    /// Notes that a session signed its user in to a client.
    pub async fn add_session_client(&mut self, session_id: &str, client: &ClientKey) -> Result<()> {
        let id = self.issuer.clone();
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO session_client (session_id, client_id, issuer_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            )
            .bind(session_id)
            .bind(client)
            .bind(&*id)
            .execute(c)
            .await?;
            Ok(())
        })
    }

    /// Whom to tell of the end of sessions.
    pub async fn logouts(&mut self, session_ids: &[String], now: Timestamp) -> Result<Vec<Logout>> {
        let id = self.issuer.clone();
        let sql = one_of!(self, [logouts!(), " AND s.id"] "$3" [" ORDER BY s.id, k.id"]);
        on!(self, |c| {
            let rows = sqlx::query(sql).bind(&*id).bind(now).bind(json(&session_ids)).fetch_all(c).await?;
            rows.iter().map(logout).collect()
        })
    }

    /// The sessions of a user that are alive and signed them in to a client, if that can be told.
    pub async fn logouts_of_client(
        &mut self,
        account_id: &AccountId,
        client: &ClientKey,
        now: Timestamp,
    ) -> Result<Vec<Logout>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let sql =
                concat!(logouts!(), " AND s.account_id = $3 AND s.ended_at IS NULL AND x.client_id = $4 ORDER BY s.id");
            let rows = sqlx::query(sql).bind(&*id).bind(now).bind(account_id).bind(client).fetch_all(c).await?;
            rows.iter().map(logout).collect()
        })
    }
}
