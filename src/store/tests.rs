//! What a page of a list costs: as much over a hundred rows as over many, whatever it is narrowed to.
//!
//! Counted in work instead of time: on SQLite the steps of its virtual machine, on PostgreSQL the rows that it looks at.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::AssertSqlSafe;

use super::{Columns as _, Connection, Database, Result, Store, Tx, on};
use crate::domain::delegation::{Filter, Selection, Status};
use crate::domain::ids::{AccountId, ClientId, ClientKey, Subject};
use crate::domain::notice::{Deliveries, DeliveryState};
use crate::domain::time::Timestamp;

const NOW: Timestamp = Timestamp(1_000_000);
const PAGE: i64 = 51;
const FEW: usize = 500;
const MANY: usize = 8_000;

/// One user with so many delegations to as many services, and as many users of one service, all through one agent; a third of them over,
/// sixty of those being withdrawn. `{n}` is how many; ids are a letter and nine digits.
const ROWS: [&str; 14] = [
    "INSERT INTO issuer (id, url, name, cimd, admin_token_hash, origin, revision, created_at)
     VALUES ('default', 'https://id.example', 'A', '{}', 'x', 'config', 1, 0)",
    "INSERT INTO account (id, issuer_id, sub, email, origin, version, decisions, created_at) {each}
     SELECT 'u' || i, 'default', 'u' || i, 'u' || i, 'config', 1, 0, 0 FROM n",
    "INSERT INTO client (id, issuer_id, client_id, token_endpoint_auth_method, redirect_uris, grant_types, id_token_signed_response_alg,
                         backchannel_logout_uri, backchannel_logout_session_required, post_logout_redirect_uris, audiences, first_party, require_pkce,
                         origin, version, created_at) {each}
     SELECT 'k' || i, 'default', 'k' || i, 'none', '[]', '[]', 'ES256', 'https://a.example/out', 0, '[]', '[]', 0, 1, 'config', 1, 0 FROM n",
    "INSERT INTO service (id, issuer_id, audience, place, resources, scopes, client_ids, claims, requires_verified_contact, client_id_source,
                          takes_id_jag, notices, signing_alg, origin, version, created_at) {each}
     SELECT 'v' || i, 'default', 'https://s' || i, 'https://s' || i, '[]', '[]', '{}', '[]', 0, 'client', 1, '[]', 'ES256', 'config', 1, 0 FROM n",
    "INSERT INTO session (id, issuer_id, account_id, token_hash, auth_time, user_agent, created_at, expires_at) {each}
     SELECT 'e' || i, 'default', 'u100000000', 'e' || i, 0, 'Chrome/1', 0, 2000000 FROM n",
    "INSERT INTO session_client (session_id, client_id, issuer_id) {each} SELECT 'e' || i, 'k100000000', 'default' FROM n",
    "INSERT INTO signin_consent (id, issuer_id, account_id, client_id, scope, created_at) {each}
     SELECT 'g' || i, 'default', 'u' || i, 'k100000000', 'openid', 0 FROM n",
    "INSERT INTO token_family (id, issuer_id, account_id, client_id, session_id, scope, offline, generation, created_at, expires_at) {each}
     SELECT 'f' || i, 'default', 'u' || i, 'k100000000', 'e' || i, 'openid', i % 2, 0, 0, 2000000 FROM n",
    "INSERT INTO delegation (id, issuer_id, account_id, iss, sub, aud, created_at, mint_count, last_exp, ended_at) {each}
     SELECT 'a' || i, 'default', 'u100000000', 'i', 'u100000000', 's' || i, 0, 1, 0, CASE WHEN i % 3 = 1 THEN 5 END FROM n",
    "INSERT INTO delegation (id, issuer_id, account_id, iss, sub, aud, created_at, mint_count, last_exp, ended_at) {each}
     SELECT 'b' || i, 'default', 'u' || i, 'i', 'u' || i, 'one', 0, 1, 0, CASE WHEN i % 3 = 1 THEN 5 END FROM n",
    "INSERT INTO consent (id, issuer_id, delegation_id, account_id, client_id, aud, mode, asked_scope, scope, resources, claims, ground, request_key,
                          session_id, number, created_at)
     SELECT 'c' || d.id, 'default', d.id, d.account_id, 'k100000000', d.aud, 'always', '', '', '[]', '', 'user', '', 'e100000000', 1, 0
       FROM delegation d",
    "INSERT INTO consent (id, issuer_id, account_id, client_id, aud, mode, asked_scope, scope, resources, claims, ground, request_key, number,
                          created_at) {each}
     SELECT 'd' || i, 'default', 'u100000000', 'k100000000', 's' || i, 'denied', '', '', '[]', '', 'user', '', i, 0 FROM n",
    "INSERT INTO delivery (id, issuer_id, delegation_id, format, round, endpoint, host, iss, sub, aud, state, attempts, due_at, created_at,
                           give_up_at)
     SELECT 'o' || d.id, 'default', d.id, 'logout+jwt', 'first', 'e', 'h', 'i', d.sub, d.aud,
            CASE WHEN substr(d.id, 2) < '100000180' THEN 'queued' ELSE 'delivered' END, 1, 0, 5, 9 FROM delegation d WHERE d.ended_at IS NOT NULL",
    "INSERT INTO journal (id, issuer_id, at, kind, account_id, client_id, delegation_id, body) {each}
     SELECT 'j' || i, 'default', 0, 'assertion', 'u100000000', 'k100000000', 'a100000001', '{}' FROM n",
];

async fn run(tx: &mut Tx, sql: String) {
    on!(tx, |c| {
        sqlx::query(AssertSqlSafe(sql)).execute(c).await.unwrap();
    });
}

async fn filled(database: &Database, n: usize) -> Store {
    let store = database.of("default".into());
    let mut tx = store.begin().await.unwrap();
    let each = format!(
        "WITH RECURSIVE n (i) AS (SELECT CAST(100000000 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < {})",
        100_000_000 + n - 1
    );
    for sql in ROWS {
        run(&mut tx, sql.replace("{each}", &each)).await;
    }
    if tx.is_postgres() {
        run(&mut tx, "ANALYZE".to_owned()).await;
    }
    tx.commit().await.unwrap();
    store
}

/// What a statement or two cost when they have been asked for some time: PostgreSQL first plans for the values, then for any.
async fn cost(store: &Store, mut work: impl AsyncFnMut(&mut Tx) -> Result<()>) -> u64 {
    let mut tx = store.begin().await.unwrap();
    for _ in 0..6 {
        work(&mut tx).await.unwrap();
    }
    let steps = Arc::new(AtomicU64::new(0));
    let counted = steps.clone();
    if let Connection::Sqlite(c) = tx.connection() {
        c.lock_handle().await.unwrap().set_progress_handler(1, move || {
            counted.fetch_add(1, Ordering::Relaxed);
            true
        });
    }
    let before = rows_read(&mut tx).await;
    work(&mut tx).await.unwrap();
    let after = rows_read(&mut tx).await;
    if let Connection::Sqlite(c) = tx.connection() {
        c.lock_handle().await.unwrap().remove_progress_handler();
        return steps.load(Ordering::Relaxed);
    }
    after - before
}

async fn rows_read(tx: &mut Tx) -> u64 {
    let Connection::Postgres(c) = tx.connection() else { return 0 };
    let sql = "SELECT CAST(COALESCE(SUM(COALESCE(seq_tup_read, 0) + COALESCE(idx_tup_fetch, 0)), 0) AS BIGINT) AS n
                 FROM pg_stat_xact_user_tables WHERE schemaname = current_schema()";
    u64::try_from(sqlx::query(sql).fetch_one(c).await.unwrap().int("n").unwrap()).unwrap()
}

/// What pages of every list cost, each with what it is.
async fn costs(store: &Store, n: usize) -> Vec<(String, u64)> {
    let account: AccountId = "u100000000".to_owned().into();
    let sub = Subject::parse("u100000000").unwrap();
    let (used, unused) = (ClientId::parse("k100000000").unwrap(), ClientId::parse("k100000001").unwrap());
    let middle = format!("a{}", 100_000_000 + n / 2);
    let users = [(None, None), (Some(&account), None), (None, Some(&sub)), (Some(&account), Some(&sub))];
    let statuses = [None, Some(Status::Active), Some(Status::Withdrawing), Some(Status::Withdrawn)];
    let mut all = Vec::new();
    for (account_id, sub) in users {
        for aud in [None, Some("one"), Some("nobody")] {
            for client_id in [None, Some(&used), Some(&unused)] {
                for (status, after) in statuses.into_iter().flat_map(|s| [(s, None), (s, Some(middle.as_str()))]) {
                    let filter = Filter { account_id, sub, aud, client_id, status, after, limit: PAGE };
                    let work = async |tx: &mut Tx| tx.delegations(filter).await.map(drop);
                    all.push((format!("{filter:?}"), cost(store, work).await));
                }
                let selection = Selection {
                    account_id: account_id.cloned(),
                    sub: sub.cloned(),
                    aud: aud.map(str::to_owned),
                    client_id: client_id.cloned(),
                    used_since: None,
                };
                for after in ["", &middle] {
                    let work = async |tx: &mut Tx| tx.standing(&selection, after, PAGE).await.map(drop);
                    all.push((format!("after {after:?} {selection:?}"), cost(store, work).await));
                }
            }
        }
    }
    let key: ClientKey = "k100000000".to_owned().into();
    macro_rules! page {
        ($($name:ident($($argument:expr),*))*) => {$(
            let work = async |tx: &mut Tx| tx.$name($($argument),*).await.map(drop);
            all.push((stringify!($name).to_owned(), cost(store, work).await));
        )*};
    }
    page! {
        latest_delegations(&account, false, "z", PAGE)
        latest_delegations(&account, true, &middle, PAGE)
        delegation_consents(&["a100000000", "a100000001", "b100000001"])
        consent_browsers(&["a100000000", "a100000001", "b100000001"])
        deliveries(&["a100000001", "b100000001"])
        attempts(&["a100000001", "b100000001"])
        clients_by_key(&[&key])
        services(&["https://s100000001", "https://s100000002"])
        denials(&account, i64::MAX, PAGE)
        denials(&account, 100_000_060, PAGE)
        open_sessions(&account, NOW, "z", PAGE)
        open_sessions(&account, NOW, "e100000060", PAGE)
        logouts(&["e100000000".to_owned()], NOW)
        signed_in_clients(&account, NOW, 0, PAGE)
        sign_ins(&account, &[&key], NOW)
        open_tickets(&account, NOW, 0, PAGE)
        list_deliveries(Deliveries { state: None, after: "", limit: PAGE })
        list_deliveries(Deliveries { state: Some(DeliveryState::Queued), after: "", limit: PAGE })
        list_deliveries(Deliveries { state: Some(DeliveryState::Refused), after: "o", limit: PAGE })
        count_open_tickets(&account, &key, NOW)
        agreed_before(&account, "s100000001", &key)
    }
    all
}

async fn stays_within(few: Database, many: Database, spare: u64) {
    let (few, many) = (filled(&few, FEW).await, filled(&many, MANY).await);
    let (few, many) = (costs(&few, FEW).await, costs(&many, MANY).await);
    let dear: Vec<_> = few
        .iter()
        .zip(&many)
        .filter(|((_, few), (_, many))| *many > 2 * few + spare)
        .map(|((what, few), (_, many))| format!("{what}: {few} -> {many}"))
        .collect();
    assert!(dear.is_empty(), "{dear:#?}");
}

/// While a service is down, all that are over are being withdrawn.
async fn stays_within_while_all_wait(few: Database, many: Database, spare: u64) {
    let mut costs = Vec::new();
    for (database, n) in [(few, FEW), (many, MANY)] {
        let store = filled(&database, n).await;
        let mut tx = store.begin().await.unwrap();
        run(&mut tx, "UPDATE delivery SET state = 'queued'".to_owned()).await;
        if tx.is_postgres() {
            run(&mut tx, "ANALYZE".to_owned()).await;
        }
        tx.commit().await.unwrap();
        let filter = Filter { status: Some(Status::Withdrawing), limit: PAGE, ..Filter::default() };
        costs.push(cost(&store, async |tx: &mut Tx| tx.delegations(filter).await.map(drop)).await);
    }
    assert!(costs[1] <= 2 * costs[0] + spare, "{costs:?}");
}

#[tokio::test]
async fn a_page_of_many_costs_what_one_of_few_does_on_sqlite() {
    let folder = tempfile::TempDir::new().unwrap();
    let open = async |name: &str| Database::sqlite(&folder.path().join(name)).await.unwrap();
    stays_within(open("few").await, open("many").await, 0).await;
    stays_within_while_all_wait(open("few waiting").await, open("many waiting").await, 0).await;
}

#[tokio::test]
async fn a_page_of_many_costs_what_one_of_few_does_on_postgresql() {
    use sqlx::Connection as _;
    let cluster = crate::config::postgresql_for_tests();
    let and = if cluster.contains('?') { '&' } else { '?' };
    let open = async |name: &str| {
        let schema = format!("work{}_{name}", std::process::id());
        let mut admin = sqlx::PgConnection::connect(&cluster).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("CREATE SCHEMA {schema}"))).execute(&mut admin).await.unwrap();
        Database::postgres(&format!("{cluster}{and}options=-c%20search_path%3D{schema}")).await.unwrap()
    };
    // A table of a hundred rows is read as a whole, which is no more than a page or two of it.
    let spare = 2 * u64::try_from(PAGE).unwrap();
    stays_within(open("few").await, open("many").await, spare).await;
    stays_within_while_all_wait(open("few_waiting").await, open("many_waiting").await, spare).await;
}
