//! The facts of a batch, read by one statement.

use sqlx::Row as _;

use super::wanted::Wanted;
use crate::domain::consent::Consent;
use crate::domain::exchange::Record;
use crate::domain::rotation::KeyState;
use crate::domain::service::KnownService;
use crate::domain::session::Account;
use crate::domain::time::Timestamp;
use crate::store::accounts::account;
use crate::store::consents::{consent, consent_columns};
use crate::store::json_row::{JsonRow, elements, object, pairs};
use crate::store::services::{known, service_columns};
use crate::store::{Columns as _, Result, StoreError, Tx, on, per_engine, word};

/// The subjects of `$1` (by access token) and `$2` (by session) that are alive at `$3`, as `who`. An ID token names no family, but it dies
/// with the last that the sign-in to its client gave in its session. A family that is offline outlives that.
macro_rules! who {
    ($engine:ident) => {
        concat!(
            "by_token AS MATERIALIZED (
                SELECT CAST(e.value ->> 0 AS BIGINT) AS n, e.value ->> 1 AS issuer_id, e.value ->> 2 AS client_id, e.value ->> 3 AS aud,
                       e.value ->> 4 AS hash FROM ",
            elements!($engine, "$1"),
            "), by_session AS MATERIALIZED (
                SELECT CAST(e.value ->> 0 AS BIGINT) AS n, e.value ->> 1 AS issuer_id, e.value ->> 2 AS client_id, e.value ->> 3 AS aud,
                       e.value ->> 4 AS session_id, e.value ->> 5 AS sub FROM ",
            elements!($engine, "$2"),
            "), who AS MATERIALIZED (
                SELECT q.n, q.issuer_id, q.client_id, q.aud, f.id AS family_id, s.id AS session_id, s.auth_time, s.account_id,
                       CAST(NULL AS TEXT) AS sub
                  FROM by_token q CROSS JOIN access_token t CROSS JOIN token_family f CROSS JOIN session s
                 WHERE t.hash = q.hash AND t.issuer_id = q.issuer_id AND t.expires_at > $3
                   AND f.id = t.family_id AND f.client_id = q.client_id AND f.ended_at IS NULL
                   AND s.id = f.session_id AND s.account_id = f.account_id
                   AND (f.offline = 1 OR (s.ended_at IS NULL AND s.expires_at > $3))
                UNION ALL
                SELECT q.n, q.issuer_id, q.client_id, q.aud,
                       (SELECT MAX(f.id) FROM token_family f
                         WHERE f.session_id = s.id AND f.account_id = s.account_id AND f.client_id = q.client_id AND f.ended_at IS NULL
                           AND (f.offline = 1 OR (s.ended_at IS NULL AND s.expires_at > $3))),
                       s.id, s.auth_time, s.account_id, q.sub
                  FROM by_session q CROSS JOIN session s
                 WHERE s.id = q.session_id AND s.issuer_id = q.issuer_id)"
        )
    };
}
pub(super) use who;

/// The order of the joins is the order of the text on SQLite, whose planner takes CROSS JOIN for an order to do so.
macro_rules! facts {
    ($engine:ident) => {
        concat!(
            "WITH ",
            who!($engine),
            " SELECT 'subject' AS kind, w.n, ",
            object!(
                $engine,
                pairs!("a", sub, email, email_verified_at, name, phone_number, phone_verified_at),
                ", 'account_id', a.id, 'account_version', a.version, 'record_id', d.id, 'record_sub', d.sub, 'record_ended_at', d.ended_at, ",
                pairs!("w", session_id, family_id, auth_time)
            ),
            " AS body, CASE WHEN c.id IS NOT NULL THEN ",
            object!($engine, consent_columns!(pairs "c")),
            " END AS consent
              FROM who w CROSS JOIN account a
              LEFT JOIN delegation d ON d.issuer_id = w.issuer_id AND d.account_id = a.id AND d.aud = w.aud
              LEFT JOIN consent c ON c.issuer_id = w.issuer_id AND c.account_id = a.id AND c.aud = w.aud AND c.client_id = w.client_id
                                 AND c.ended_at IS NULL
             WHERE w.family_id IS NOT NULL AND a.id = w.account_id AND (w.sub IS NULL OR w.sub = a.sub) AND a.disabled_at IS NULL
            UNION ALL SELECT 'client', CAST(e.value ->> 0 AS BIGINT), ",
            object!($engine, pairs!("k", version, disabled_at)),
            ", NULL FROM ",
            elements!($engine, "$4"),
            " CROSS JOIN client k WHERE k.issuer_id = e.value ->> 1 AND k.id = e.value ->> 2
            UNION ALL SELECT 'service', CAST(e.value ->> 0 AS BIGINT), ",
            object!(
                $engine,
                service_columns!(pairs "v")
            ),
            ", NULL FROM ",
            elements!($engine, "$5"),
            " CROSS JOIN service v WHERE v.issuer_id = e.value ->> 1 AND v.audience = e.value ->> 2
            UNION ALL SELECT 'key', CAST(e.value ->> 0 AS BIGINT), ",
            object!($engine, pairs!("g", state)),
            ", NULL FROM ",
            elements!($engine, "$6"),
            " CROSS JOIN signing_key g CROSS JOIN issuer i
              WHERE g.issuer_id = e.value ->> 1 AND g.kid = e.value ->> 2 AND i.id = g.issuer_id AND i.disabled_at IS NULL"
        )
    };
}

/// Whom a subject token speaks for, and what they decided.
pub(super) struct SubjectFacts {
    pub(super) account: Account,
    pub(super) session_id: String,
    pub(super) family_id: String,
    pub(super) auth_time: Timestamp,
    pub(super) record: Option<Record>,
    pub(super) consents: Vec<Consent>,
}

/// A client as it is now.
pub(super) struct ClientState {
    pub(super) version: i64,
    pub(super) disabled: bool,
}

/// What was read under a number: nothing, or a row, or what is wrong with the row.
type Found<T> = std::result::Result<Option<T>, &'static str>;

/// What was read, by the numbers of [`Wanted`].
#[derive(Default)]
pub(super) struct Facts {
    subjects: Vec<Found<SubjectFacts>>,
    clients: Vec<Found<ClientState>>,
    services: Vec<Found<KnownService>>,
    /// Where the key stands.
    keys: Vec<Found<KeyState>>,
}

fn there<T>(found: &Found<T>) -> Result<Option<&T>> {
    found.as_ref().map(Option::as_ref).map_err(|what| StoreError::Broken(what))
}

impl Facts {
    fn of(wanted: &Wanted<'_>) -> Self {
        Self {
            subjects: std::iter::repeat_with(|| Ok(None)).take(wanted.subjects.len()).collect(),
            clients: std::iter::repeat_with(|| Ok(None)).take(wanted.clients.len()).collect(),
            services: std::iter::repeat_with(|| Ok(None)).take(wanted.services.len()).collect(),
            keys: vec![Ok(None); wanted.keys.len()],
        }
    }

    pub(super) fn client(&self, n: usize) -> Result<Option<&ClientState>> {
        there(&self.clients[n])
    }

    pub(super) fn service(&self, n: usize) -> Result<Option<&KnownService>> {
        there(&self.services[n])
    }

    pub(super) fn signs(&self, n: usize) -> Result<bool> {
        Ok(there(&self.keys[n])? == Some(&KeyState::Active))
    }

    pub(super) fn is_published(&self, n: usize) -> Result<bool> {
        Ok(there(&self.keys[n])?.is_some_and(|state| state.is_published()))
    }

    pub(super) fn subject(&self, n: usize) -> Result<Option<&SubjectFacts>> {
        there(&self.subjects[n])
    }

    /// A `once` is over with its first use.
    pub(super) fn end(&mut self, consent_id: &str, now: Timestamp) {
        let subjects = self.subjects.iter_mut().filter_map(|found| found.as_mut().ok()?.as_mut());
        for consent in subjects.flat_map(|subject| &mut subject.consents).filter(|c| c.id == consent_id) {
            consent.ended_at = Some(now);
        }
    }

    /// Takes one row of the statement. What cannot be read harms whoever asked for it.
    fn take(&mut self, kind: &str, n: usize, body: &str, of: Option<&str>) -> Result<()> {
        fn put<T>(all: &mut [Found<T>], n: usize, read: impl FnOnce() -> Result<T>) -> Result<()> {
            let place = all.get_mut(n).ok_or(StoreError::Broken("n"))?;
            *place = match read() {
                Ok(row) => Ok(Some(row)),
                Err(StoreError::Broken(what)) => Err(what),
                Err(error) => return Err(error),
            };
            Ok(())
        }
        match kind {
            "subject" => {
                // One row for each consent, with the same subject.
                if matches!(self.subjects.get(n), Some(Ok(None))) {
                    put(&mut self.subjects, n, || subject(&JsonRow::parse(body)?))?;
                }
                let read = of.map(|text| consent(&JsonRow::parse(text)?)).transpose();
                match (self.subjects.get_mut(n), read) {
                    (Some(Ok(Some(subject))), Ok(read)) => subject.consents.extend(read),
                    (Some(place @ Ok(_)), Err(StoreError::Broken(what))) => *place = Err(what),
                    (_, Err(error)) => return Err(error),
                    _ => {}
                }
                Ok(())
            }
            "client" => put(&mut self.clients, n, || {
                let row = JsonRow::parse(body)?;
                Ok(ClientState { version: row.int("version")?, disabled: row.is_set("disabled_at")? })
            }),
            "service" => put(&mut self.services, n, || {
                let row = JsonRow::parse(body)?;
                known(&row)
            }),
            "key" => put(&mut self.keys, n, || word(&JsonRow::parse(body)?, "state", KeyState::parse)),
            _ => Err(StoreError::Broken("kind")),
        }
    }
}

fn subject(row: &JsonRow<'_>) -> Result<SubjectFacts> {
    let record = match (row.maybe_text("record_id")?, row.maybe_id("record_sub")?) {
        (Some(id), Some(sub)) => Some(Record { id, sub, ended: row.is_set("record_ended_at")? }),
        _ => None,
    };
    Ok(SubjectFacts {
        account: account(row)?,
        session_id: row.text("session_id")?,
        family_id: row.text("family_id")?,
        auth_time: row.time("auth_time")?,
        record,
        consents: Vec::new(),
    })
}

impl Tx {
    pub(super) async fn facts(&mut self, wanted: &Wanted<'_>, now: Timestamp) -> Result<Facts> {
        let (tokens, sessions) = (wanted.by_access_token(), wanted.by_session());
        let clients = Wanted::named(&wanted.clients);
        let services = Wanted::named(&wanted.services);
        let keys = Wanted::named(&wanted.keys);
        let mut facts = Facts::of(wanted);
        let sql = per_engine!(self, facts!(sqlite), facts!(postgres));
        on!(self, |c| {
            let query =
                sqlx::query(sql).bind(&tokens).bind(&sessions).bind(now).bind(&clients).bind(&services).bind(&keys);
            for row in query.fetch_all(c).await? {
                let n = usize::try_from(row.try_get::<i64, _>(1)?).map_err(|_| StoreError::Broken("n"))?;
                facts.take(row.try_get(0)?, n, row.try_get(2)?, row.try_get(3)?)?;
            }
        });
        Ok(facts)
    }
}
