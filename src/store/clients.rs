//! Clients and services.

use std::collections::BTreeMap;

use super::{Columns, Result, StoreError, Tx, json, on};
use crate::domain::client::{AuthMethod, Client};
use crate::domain::ids::Audience;
use crate::domain::service::{Claim, Dialect, Service};

/// A client to write.
#[derive(Debug)]
pub struct NewClient<'a> {
    /// Used when there is none with this `client_id` yet.
    pub id: &'a str,
    /// What it calls itself.
    pub client_id: &'a str,
    /// To show.
    pub name: &'a str,
    /// How it authenticates.
    pub auth_method: AuthMethod,
    /// SHA-256 of its secret.
    pub secret_hash: Option<&'a str>,
    /// JSON.
    pub jwks: Option<&'a str>,
    /// Exact.
    pub redirect_uris: &'a [String],
    /// Its grants.
    pub grant_types: &'a [String],
    /// Its ceiling.
    pub audiences: &'a [String],
    /// The platform's own.
    pub first_party: bool,
}

/// A service to write.
#[derive(Debug)]
pub struct NewService<'a> {
    /// Used when there is none with this audience yet.
    pub id: &'a str,
    /// Its issuer identifier.
    pub audience: &'a str,
    /// To show.
    pub name: Option<&'a str>,
    /// What it speaks.
    pub dialect: Dialect,
    /// Its resources.
    pub resources: &'a [String],
    /// Its scopes.
    pub scopes: &'a [String],
    /// Clients' ids there.
    pub client_ids: &'a BTreeMap<String, String>,
    /// What leaves.
    pub claims: &'a [Claim],
    /// Where notices go.
    pub revocation_uri: Option<&'a str>,
    /// Seconds.
    pub max_auth_age: Option<i64>,
}

fn client(r: &impl Columns) -> Result<Client> {
    Ok(Client {
        id: r.text("id")?,
        client_id: r.text("client_id")?,
        name: r.text("name")?,
        auth_method: AuthMethod::stored(&r.text("auth_method")?).ok_or(StoreError::Broken("auth_method"))?,
        secret_hash: r.maybe_text("secret_hash")?,
        jwks: r.maybe_text("jwks")?,
        redirect_uris: r.json("redirect_uris")?,
        grant_types: r.json("grant_types")?,
        audiences: r.json("audiences")?,
        first_party: r.is_set("first_party_at")?,
        version: r.int("version")?,
    })
}

pub(super) fn service(r: &impl Columns) -> Result<Service> {
    let dialect = match r.text("dialect")?.as_str() {
        "auth.md" => Dialect::AuthMd,
        "id-jag" => Dialect::IdJag,
        _ => return Err(StoreError::Broken("dialect")),
    };
    let claims: Vec<String> = r.json("claims")?;
    Ok(Service {
        id: Some(r.text("id")?),
        audience: Audience::parse(&r.text("audience")?).map_err(|_| StoreError::Broken("audience"))?,
        name: r.maybe_text("name")?,
        dialect,
        resources: r.json("resources")?,
        scopes: r.json("scopes")?,
        client_ids: r.json("client_ids")?,
        claims: claims.iter().filter_map(|c| Claim::parse(c)).collect(),
        revocation_uri: r.maybe_text("revocation_uri")?,
        max_auth_age: r.maybe_int("max_auth_age")?,
        version: r.int("version")?,
    })
}

impl Tx {
    /// The enabled client with a `client_id`.
    pub async fn client(&mut self, client_id: &str) -> Result<Option<Client>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(
                "SELECT id, client_id, name, auth_method, secret_hash, jwks, redirect_uris, grant_types, audiences, first_party_at, version
                   FROM client WHERE issuer_id = $1 AND client_id = $2 AND disabled_at IS NULL",
            )
            .bind(&*id)
            .bind(client_id)
            .fetch_optional(c)
            .await?;
            row.map(|r| client(&r)).transpose()
        })
    }

    /// The client with one of our keys, enabled or not: for showing what it was called.
    pub async fn client_by_key(&mut self, key: &str) -> Result<Option<Client>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(
                "SELECT id, client_id, name, auth_method, secret_hash, jwks, redirect_uris, grant_types, audiences, first_party_at, version
                   FROM client WHERE issuer_id = $1 AND id = $2",
            )
            .bind(&*id)
            .bind(key)
            .fetch_optional(c)
            .await?;
            row.map(|r| client(&r)).transpose()
        })
    }

    /// Writes a client of the configuration; its version grows when anything differs.
    pub async fn apply_client(&mut self, new: &NewClient<'_>, now: i64) -> Result<()> {
        self.wrote_client = true;
        let id = self.issuer.clone();
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO client (id, issuer_id, client_id, name, auth_method, secret_hash, jwks, redirect_uris, grant_types, audiences,
                                     first_party_at, origin, version, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'config', 1, $12)
                 ON CONFLICT (issuer_id, client_id) DO UPDATE
                    SET name = $4, auth_method = $5, secret_hash = $6, jwks = $7, redirect_uris = $8, grant_types = $9, audiences = $10,
                        first_party_at = $11, origin = 'config', disabled_at = NULL, version = client.version + 1
                  WHERE client.name <> $4 OR client.auth_method <> $5 OR COALESCE(client.secret_hash, '') <> COALESCE($6, '')
                     OR COALESCE(client.jwks, '') <> COALESCE($7, '') OR client.redirect_uris <> $8 OR client.grant_types <> $9
                     OR client.audiences <> $10 OR (client.first_party_at IS NULL) <> ($11 IS NULL)
                     OR client.disabled_at IS NOT NULL OR client.origin <> 'config'",
            )
            .bind(new.id)
            .bind(&*id)
            .bind(new.client_id)
            .bind(new.name)
            .bind(new.auth_method.as_str())
            .bind(new.secret_hash)
            .bind(new.jwks)
            .bind(json(&new.redirect_uris))
            .bind(json(&new.grant_types))
            .bind(json(&new.audiences))
            .bind(new.first_party.then_some(now))
            .bind(now)
            .execute(c)
            .await?;
            Ok(())
        })
    }

    /// (our key, `client_id`) of the enabled clients of the configuration, by key.
    pub async fn configured_clients(&mut self) -> Result<Vec<(String, String)>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(
                "SELECT id, client_id FROM client WHERE issuer_id = $1 AND origin = 'config' AND disabled_at IS NULL ORDER BY id",
            )
            .bind(&*id)
            .fetch_all(c)
            .await?;
            rows.iter().map(|r| Ok((r.text("id")?, r.text("client_id")?))).collect()
        })
    }

    /// Disables a client. `false` when it was disabled already.
    pub async fn disable_client(&mut self, key: &str, now: i64) -> Result<bool> {
        self.wrote_client = true;
        let id = self.issuer.clone();
        on!(self, |c| {
            let done = sqlx::query(
                "UPDATE client SET disabled_at = $3, version = version + 1 WHERE issuer_id = $1 AND id = $2 AND disabled_at IS NULL",
            )
            .bind(&*id)
            .bind(key)
            .bind(now)
            .execute(c)
            .await?;
            Ok(done.rows_affected() == 1)
        })
    }

    /// The enabled service with an audience.
    pub async fn service(&mut self, audience: &str) -> Result<Option<Service>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(
                "SELECT id, audience, name, dialect, resources, scopes, client_ids, claims, revocation_uri, max_auth_age, version
                   FROM service WHERE issuer_id = $1 AND audience = $2 AND disabled_at IS NULL",
            )
            .bind(&*id)
            .bind(audience)
            .fetch_optional(c)
            .await?;
            row.map(|r| service(&r)).transpose()
        })
    }

    /// Whether there was a service with an audience that has been disabled: unlike one that nobody ever configured, nobody is vouched for
    /// there.
    pub async fn service_is_disabled(&mut self, audience: &str) -> Result<bool> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(
                "SELECT COUNT(*) AS n FROM service WHERE issuer_id = $1 AND audience = $2 AND disabled_at IS NOT NULL",
            )
            .bind(&*id)
            .bind(audience)
            .fetch_one(c)
            .await?;
            Ok(row.int("n")? > 0)
        })
    }

    /// Writes a service of the configuration; its version grows when anything differs.
    pub async fn apply_service(&mut self, new: &NewService<'_>, now: i64) -> Result<()> {
        let id = self.issuer.clone();
        let claims: Vec<&str> = new.claims.iter().map(|c| c.as_str()).collect();
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO service (id, issuer_id, audience, name, dialect, resources, scopes, client_ids, claims, revocation_uri,
                                      max_auth_age, origin, version, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'config', 1, $12)
                 ON CONFLICT (issuer_id, audience) DO UPDATE
                    SET name = $4, dialect = $5, resources = $6, scopes = $7, client_ids = $8, claims = $9, revocation_uri = $10,
                        max_auth_age = $11, origin = 'config', disabled_at = NULL, version = service.version + 1
                  WHERE COALESCE(service.name, '') <> COALESCE($4, '') OR service.dialect <> $5 OR service.resources <> $6
                     OR service.scopes <> $7 OR service.client_ids <> $8 OR service.claims <> $9
                     OR COALESCE(service.revocation_uri, '') <> COALESCE($10, '')
                     OR COALESCE(service.max_auth_age, -1) <> COALESCE($11, -1)
                     OR service.disabled_at IS NOT NULL OR service.origin <> 'config'",
            )
            .bind(new.id)
            .bind(&*id)
            .bind(new.audience)
            .bind(new.name)
            .bind(new.dialect.as_str())
            .bind(json(&new.resources))
            .bind(json(&new.scopes))
            .bind(json(&new.client_ids))
            .bind(json(&claims))
            .bind(new.revocation_uri)
            .bind(new.max_auth_age)
            .bind(now)
            .execute(c)
            .await?;
            Ok(())
        })
    }

    /// (our key, audience) of the enabled services of the configuration, by key.
    pub async fn configured_services(&mut self) -> Result<Vec<(String, String)>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(
                "SELECT id, audience FROM service WHERE issuer_id = $1 AND origin = 'config' AND disabled_at IS NULL ORDER BY id",
            )
            .bind(&*id)
            .fetch_all(c)
            .await?;
            rows.iter().map(|r| Ok((r.text("id")?, r.text("audience")?))).collect()
        })
    }

    /// Disables a service. `false` when it was disabled already.
    pub async fn disable_service(&mut self, key: &str, now: i64) -> Result<bool> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let done = sqlx::query(
                "UPDATE service SET disabled_at = $3, version = version + 1 WHERE issuer_id = $1 AND id = $2 AND disabled_at IS NULL",
            )
            .bind(&*id)
            .bind(key)
            .bind(now)
            .execute(c)
            .await?;
            Ok(done.rows_affected() == 1)
        })
    }
}
