//! PostgreSQL reads at READ COMMITTED: what decides is locked before it is read, and what was not locked decides nothing.

use std::collections::HashSet;

use sqlx::Row as _;

use super::facts::{SubjectFacts, who};
use super::wanted::Wanted;
use crate::domain::exchange::Grant;
use crate::domain::ids::{ClientKey, Kid};
use crate::domain::time::Timestamp;
use crate::store::json_row::elements;
use crate::store::{Connection, Result, StoreError, Tx};

/// In the order that everyone keeps, each by its id; nobody else locks an issuer, a family or a key beside anything. The ids are arrays:
/// for a subquery that it takes for a hundred rows PostgreSQL reads tables of ten thousand from end to end.
const LOCK: &str = concat!(
    "WITH ",
    who!(postgres),
    ", l1 AS MATERIALIZED (SELECT id FROM account WHERE id = ANY (ARRAY(SELECT account_id FROM who)) ORDER BY id FOR SHARE),
    l2 AS MATERIALIZED (SELECT id FROM client WHERE id = ANY (ARRAY(SELECT e.value ->> 2 FROM ",
    elements!(postgres, "$4"),
    ")) ORDER BY id FOR SHARE),
    l3 AS MATERIALIZED (SELECT id FROM session WHERE id = ANY (ARRAY(SELECT session_id FROM who)) ORDER BY id FOR SHARE),
    l4 AS MATERIALIZED (SELECT id FROM token_family WHERE id = ANY (ARRAY(SELECT family_id FROM who)) ORDER BY id FOR SHARE),
    l5 AS MATERIALIZED (SELECT id FROM service WHERE issuer_id = ANY (ARRAY(SELECT e.value ->> 1 FROM ",
    elements!(postgres, "$5"),
    ")) AND (issuer_id, audience) IN (SELECT e.value ->> 1, e.value ->> 2 FROM ",
    elements!(postgres, "$5"),
    ") ORDER BY id FOR SHARE),
    issuers AS MATERIALIZED (SELECT id FROM issuer WHERE id = ANY (ARRAY(SELECT e.value ->> 1 FROM ",
    elements!(postgres, "$6"),
    ")) ORDER BY id FOR SHARE),
    l6 AS MATERIALIZED (SELECT kid AS id FROM signing_key WHERE kid = ANY (ARRAY(SELECT e.value ->> 2 FROM ",
    elements!(postgres, "$6"),
    ")) AND issuer_id IN (SELECT id FROM issuers) ORDER BY kid FOR SHARE),
    l7 AS MATERIALIZED (SELECT id FROM delegation WHERE account_id = ANY (ARRAY(SELECT account_id FROM who))
        AND issuer_id = ANY (ARRAY(SELECT issuer_id FROM who))
        AND (issuer_id, account_id, aud) IN (SELECT issuer_id, account_id, aud FROM who)
        ORDER BY id FOR NO KEY UPDATE),
    l8 AS MATERIALIZED (SELECT id FROM consent WHERE account_id = ANY (ARRAY(SELECT account_id FROM who))
        AND (account_id, aud, client_id) IN (SELECT account_id, aud, client_id FROM who) AND ended_at IS NULL ORDER BY id FOR NO KEY UPDATE)
    SELECT (SELECT json_agg(id)::text FROM l1), (SELECT json_agg(id)::text FROM l2), (SELECT json_agg(id)::text FROM l3),
           (SELECT json_agg(id)::text FROM l4), (SELECT json_agg(id)::text FROM l5), (SELECT json_agg(id)::text FROM l6),
           (SELECT json_agg(id)::text FROM l7), (SELECT json_agg(id)::text FROM l8)"
);

/// The ids of what was locked, kind by kind.
pub(super) struct Locked([HashSet<String>; 8]);

impl Locked {
    /// Whether all that a grant rests on was locked before it was read.
    pub(super) fn covers(
        &self,
        (client, kid): (&ClientKey, &Kid),
        subject: &SubjectFacts,
        service_id: Option<&str>,
        grant: &Grant,
    ) -> bool {
        let [accounts, clients, sessions, families, services, keys, delegations, consents] = &self.0;
        accounts.contains(subject.account.id.as_str())
            && clients.contains(client.as_str())
            && sessions.contains(&subject.session_id)
            && families.contains(&subject.family_id)
            && service_id.is_none_or(|id| services.contains(id))
            && keys.contains(kid.as_str())
            && delegations.contains(&grant.delegation_id)
            && consents.contains(&grant.consent_id)
    }
}

impl Tx {
    /// Locks what the mints of a batch may rest on; `None` on SQLite, whose transaction is the only one that writes.
    pub(super) async fn lock(&mut self, wanted: &Wanted<'_>, now: Timestamp) -> Result<Option<Locked>> {
        let Connection::Postgres(connection) = self.connection() else { return Ok(None) };
        let row = sqlx::query(LOCK)
            .bind(wanted.by_access_token())
            .bind(wanted.by_session())
            .bind(now)
            .bind(Wanted::named(&wanted.clients))
            .bind(Wanted::named(&wanted.services))
            .bind(Wanted::named(&wanted.keys))
            .fetch_one(connection)
            .await?;
        let ids = |n| match row.try_get::<Option<&str>, _>(n)? {
            Some(text) => serde_json::from_str(text).map_err(|_| StoreError::Broken("locked ids")),
            None => Ok(HashSet::new()),
        };
        Ok(Some(Locked([ids(0)?, ids(1)?, ids(2)?, ids(3)?, ids(4)?, ids(5)?, ids(6)?, ids(7)?])))
    }
}
