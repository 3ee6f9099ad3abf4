//! Services.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::json_row::{list, one_of};
use super::record::{Record as _, add, bind_all, declare, edit, record};
use super::{Columns, Result, StoreError, Tx, json, on, word};
use crate::domain::ids::Audience;
use crate::domain::service::{KnownService, Service, Source};
use crate::domain::service_policy::ServicePolicy;
use crate::domain::time::Timestamp;

/// The columns of what is known of a service: from this one list they are written, compared and read.
macro_rules! service_columns {
    (@ $shape:ident $($before:tt)*) => {
        $shape! {
            $($before)* name, resources, scopes, client_ids, claims, max_auth_age, requires_verified_contact, client_id_source, takes_id_jag,
            notices, signing_alg
        }
    };
    (record $type:ty) => {
        service_columns!(@ record $type;);
    };
    // All of a row, for whoever reads it.
    ($shape:ident $($table:literal)?) => {
        service_columns!(@ $shape $($table,)? id, audience, origin, shown, version, disabled_at,)
    };
}
service_columns!(record ServicePolicy);
pub(super) use service_columns;

pub(super) fn known(r: &impl Columns) -> Result<KnownService> {
    let service = Service {
        id: Some(r.text("id")?),
        audience: Audience::parse(&r.text("audience")?).map_err(|_| StoreError::Broken("audience"))?,
        policy: ServicePolicy::from_row(r)?,
        source: word(r, "origin", Source::parse)?,
        shown: r.maybe_text("shown")?,
        version: r.int("version")?,
    };
    Ok(KnownService { service, disabled: r.is_set("disabled_at")? })
}

impl Tx {
    /// What there is of an audience, also if it is disabled.
    pub async fn known_service(&mut self, audience: &str) -> Result<Option<KnownService>> {
        const SELECT: &str =
            concat!("SELECT ", service_columns!(list), " FROM service WHERE issuer_id = $1 AND audience = $2");
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(SELECT).bind(&*id).bind(audience).fetch_optional(c).await?;
            row.map(|r| known(&r)).transpose()
        })
    }

    /// How an enabled service is spelled that an audience means by another spelling, and whose word that is; `None` where the audience is
    /// one itself. One of which nothing is known has no spelling of its own.
    pub async fn service_spelling(&mut self, audience: &Audience) -> Result<Option<(String, Source)>> {
        let (id, place) = (self.issuer.clone(), audience.place());
        let nearest = on!(self, |c| {
            let row = sqlx::query(
                "SELECT audience, origin FROM service
                  WHERE issuer_id = $1 AND place = $2 AND disabled_at IS NULL AND (origin <> 'unknown' OR audience = $3)
                  ORDER BY CASE WHEN audience = $3 THEN 0 ELSE 1 END, audience LIMIT 1",
            )
            .bind(&*id)
            .bind(&place)
            .bind(audience.as_str())
            .fetch_optional(c)
            .await?;
            row.map(|r| Ok::<_, StoreError>((r.text("audience")?, word(&r, "origin", Source::parse)?))).transpose()?
        });
        Ok(nearest.filter(|(nearest, _)| nearest != audience.as_str()))
    }

    /// The enabled service with an audience.
    pub async fn service(&mut self, audience: &str) -> Result<Option<Service>> {
        let known = self.known_service(audience).await?;
        Ok(known.filter(|known| !known.disabled).map(|known| known.service))
    }

    /// The enabled services with audiences, by those.
    pub async fn services(&mut self, audiences: &[&str]) -> Result<BTreeMap<String, Service>> {
        let id = self.issuer.clone();
        let sql = one_of!(
            self,
            ["SELECT ", service_columns!(list), " FROM service WHERE issuer_id = $1 AND disabled_at IS NULL AND audience"] "$2" [""]
        );
        on!(self, |c| {
            let rows = sqlx::query(sql).bind(&*id).bind(json(&audiences)).fetch_all(c).await?;
            rows.iter().map(|r| Ok((r.text("audience")?, known(r)?.service))).collect()
        })
    }

    /// Writes a service of the configuration. `key` is used when there is none with this audience yet; the version grows when anything
    /// differs.
    pub async fn apply_service(
        &mut self,
        key: &str,
        audience: &Audience,
        policy: &ServicePolicy,
        now: Timestamp,
    ) -> Result<()> {
        static DECLARE: LazyLock<String> =
            LazyLock::new(|| declare("service", "audience", &[&["place", "shown"], ServicePolicy::COLUMNS].concat()));
        let id = self.issuer.clone();
        let place = audience.place();
        on!(self, |c| {
            let query =
                sqlx::query(DECLARE.as_str()).bind(key).bind(&*id).bind(audience.as_str()).bind(now).bind(&place);
            // Whatever it says of itself counts no more.
            let query = query.bind(None::<String>);
            bind_all!(query, policy.values()).execute(c).await?;
            Ok(())
        })
    }

    /// Adds a service by an administrator's word, who answers for it from then on, whatever it says of itself. `false` when somebody does already.
    pub async fn add_service(
        &mut self,
        key: &str,
        audience: &Audience,
        policy: &ServicePolicy,
        now: Timestamp,
    ) -> Result<bool> {
        static ADD: LazyLock<String> = LazyLock::new(|| {
            let columns = [&["place", "shown"], ServicePolicy::COLUMNS].concat();
            add("service", "audience", &columns, Some("origin IN ('discovered', 'unknown')"))
        });
        let (id, place) = (self.issuer.clone(), audience.place());
        on!(self, |c| {
            let query = sqlx::query(ADD.as_str()).bind(key).bind(&*id).bind(audience.as_str()).bind(now);
            let query = query.bind(&place).bind(None::<String>);
            Ok(bind_all!(query, policy.values()).execute(c).await?.rows_affected() == 1)
        })
    }

    /// Changes a service that an administrator added.
    pub async fn edit_service(&mut self, audience: &Audience, policy: &ServicePolicy) -> Result<()> {
        static EDIT: LazyLock<String> = LazyLock::new(|| edit("service", "audience", ServicePolicy::COLUMNS));
        let id = self.issuer.clone();
        on!(self, |c| {
            let query = sqlx::query(EDIT.as_str()).bind(&*id).bind(audience.as_str());
            bind_all!(query, policy.values()).execute(c).await?;
            Ok(())
        })
    }

    /// The audiences of the services that the configuration declared last, by our keys.
    pub async fn configured_services(&mut self) -> Result<Vec<String>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(
                "SELECT audience FROM service WHERE issuer_id = $1 AND origin = 'config' AND undeclared_at IS NULL ORDER BY id",
            )
            .bind(&*id)
            .fetch_all(c)
            .await?;
            rows.iter().map(|r| r.text("audience")).collect()
        })
    }
}
