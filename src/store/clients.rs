//! Clients.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::json_row::{list, one_of};
use super::record::{Record as _, Value, add, bind_all, declare, edit, record};
use super::{Columns, Result, Tx, json, on};
use crate::domain::client::{Client, ClientPolicy};
use crate::domain::client_metadata::ClientMetadata;
use crate::domain::ids::{ClientId, ClientKey};
use crate::domain::time::Timestamp;

/// The columns of what a client says about itself: from this one list they are written, compared and read.
macro_rules! metadata_columns {
    ($shape:ident $($type:ty;)?) => {
        $shape! { $($type;)? client_name, token_endpoint_auth_method, jwks, redirect_uris, grant_types,
            id_token_signed_response_alg, backchannel_logout_uri, backchannel_logout_session_required, post_logout_redirect_uris }
    };
}
metadata_columns!(record ClientMetadata;);

/// The columns of what it is allowed.
macro_rules! policy_columns {
    ($shape:ident $($type:ty;)?) => {
        $shape! { $($type;)? audiences, first_party, require_pkce }
    };
}
policy_columns!(record ClientPolicy;);

/// All of a client.
macro_rules! select {
    ($where:literal) => {
        concat!(
            "SELECT id, client_id, secret_hash, version, ",
            metadata_columns!(list),
            ", ",
            policy_columns!(list),
            " FROM client WHERE ",
            $where
        )
    };
}

pub(super) use {metadata_columns, policy_columns};

pub(super) fn client(r: &impl Columns) -> Result<Client> {
    Ok(Client {
        key: r.id("id")?,
        client_id: r.id("client_id")?,
        metadata: ClientMetadata::from_row(r)?,
        policy: ClientPolicy::from_row(r)?,
        secret_hash: r.maybe_text("secret_hash")?,
        version: r.int("version")?,
    })
}

fn columns() -> Vec<&'static str> {
    [&["secret_hash"], ClientMetadata::COLUMNS, ClientPolicy::COLUMNS].concat()
}

/// In the order of the columns.
fn values(client: &Client) -> Vec<Value> {
    let mut values = vec![Value::Text(client.secret_hash.clone())];
    values.extend(client.metadata.values());
    values.extend(client.policy.values());
    values
}

impl Tx {
    /// The enabled client with a `client_id`.
    pub async fn client(&mut self, client_id: &ClientId) -> Result<Option<Client>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(select!("issuer_id = $1 AND client_id = $2 AND disabled_at IS NULL"))
                .bind(&*id)
                .bind(client_id)
                .fetch_optional(c)
                .await?;
            row.map(|r| client(&r)).transpose()
        })
    }

    /// Our key of the client with a `client_id`, enabled or not.
    pub async fn client_key(&mut self, client_id: &ClientId) -> Result<Option<ClientKey>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query("SELECT id FROM client WHERE issuer_id = $1 AND client_id = $2")
                .bind(&*id)
                .bind(client_id)
                .fetch_optional(c)
                .await?;
            row.map(|r| r.id("id")).transpose()
        })
    }

    /// The client with one of our keys, enabled or not: for showing what it was called.
    pub async fn client_by_key(&mut self, key: &ClientKey) -> Result<Option<Client>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(select!("issuer_id = $1 AND id = $2")).bind(&*id).bind(key).fetch_optional(c).await?;
            row.map(|r| client(&r)).transpose()
        })
    }

    /// The clients with our keys, enabled or not.
    pub async fn clients_by_key(&mut self, keys: &[&ClientKey]) -> Result<BTreeMap<ClientKey, Client>> {
        let id = self.issuer.clone();
        let keys: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
        // Compared as an expression, lest SQLite reads all of the issuer's by the index on it.
        let sql = one_of!(self, [select!("issuer_id || '' = $1 AND id")] "$2" [""]);
        on!(self, |c| {
            let rows = sqlx::query(sql).bind(&*id).bind(json(&keys)).fetch_all(c).await?;
            rows.iter().map(|r| client(r).map(|client| (client.key.clone(), client))).collect()
        })
    }

    /// Writes a client of the configuration. Its key is used when there is none with this `client_id` yet; its version is ours, and grows
    /// when anything differs.
    pub async fn apply_client(&mut self, new: &Client, now: Timestamp) -> Result<()> {
        static DECLARE: LazyLock<String> = LazyLock::new(|| declare("client", "client_id", &columns()));
        let id = self.issuer.clone();
        let changed = on!(self, |c| {
            let query = sqlx::query(DECLARE.as_str()).bind(&new.key).bind(&*id).bind(&new.client_id).bind(now);
            bind_all!(query, values(new)).execute(c).await?.rows_affected()
        });
        self.wrote_client |= changed > 0;
        Ok(())
    }

    /// Adds a client by an administrator's word. `false` when there is one with this `client_id`.
    pub async fn add_client(&mut self, new: &Client, now: Timestamp) -> Result<bool> {
        static ADD: LazyLock<String> = LazyLock::new(|| add("client", "client_id", &columns(), None));
        let id = self.issuer.clone();
        let added = on!(self, |c| {
            let query = sqlx::query(ADD.as_str()).bind(&new.key).bind(&*id).bind(&new.client_id).bind(now);
            bind_all!(query, values(new)).execute(c).await?.rows_affected() == 1
        });
        self.wrote_client |= added;
        Ok(added)
    }

    /// Changes a client that an administrator added.
    pub async fn edit_client(&mut self, new: &Client) -> Result<()> {
        static EDIT: LazyLock<String> = LazyLock::new(|| edit("client", "client_id", &columns()));
        let id = self.issuer.clone();
        on!(self, |c| {
            let query = sqlx::query(EDIT.as_str()).bind(&*id).bind(&new.client_id);
            bind_all!(query, values(new)).execute(c).await?;
        });
        self.wrote_client = true;
        Ok(())
    }

    /// The names of the clients that the configuration declared last, by key.
    pub async fn configured_clients(&mut self) -> Result<Vec<(ClientKey, ClientId)>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(
                "SELECT id, client_id FROM client WHERE issuer_id = $1 AND origin = 'config' AND undeclared_at IS NULL ORDER BY id",
            )
            .bind(&*id)
            .fetch_all(c)
            .await?;
            rows.iter().map(|r| Ok((r.id("id")?, r.id("client_id")?))).collect()
        })
    }

    /// Whether there is an enabled client that cannot prove who it is.
    pub async fn has_public_client(&mut self) -> Result<bool> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(
                "SELECT id FROM client WHERE issuer_id = $1 AND token_endpoint_auth_method = 'none' AND disabled_at IS NULL LIMIT 1",
            )
            .bind(&*id)
            .fetch_optional(c)
            .await?;
            Ok(row.is_some())
        })
    }
}
