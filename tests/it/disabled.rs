//! What is disabled ends with all that stands under it, however much that is, and whatever is made in the same moment.

use avouch::domain::delegation::Removed;
use avouch::domain::ids::{AccountId, ClientKey};
use avouch::domain::time::Seconds;
use avouch::flow::withdraw_many;
use serde_json::Value;

use crate::administration::{places, turn};
use crate::bulk::{count, others};
use crate::harness::{ALICE, Engine, PASSWORD, World, both, code_grant, eventually, query};
use crate::process::{leave_as_it_is, serve};

const ALIVE: &str = "token_family WHERE ended_at IS NULL";

async fn one(world: &World, sql: &str) -> String {
    world.database.column(sql).await.remove(0)
}

/// So many token families more of alice's at her agent, or sessions, or questions of her agent about its service.
async fn many(world: &World, table: &str, n: usize) {
    let (columns, values) = match table {
        "token_family" => (
            "account_id, client_id, session_id, scope, offline, generation, created_at, expires_at",
            "x.account_id, x.client_id, x.session_id, x.scope, 1, 0, x.created_at, x.expires_at",
        ),
        "session" => (
            "account_id, token_hash, auth_time, created_at, expires_at",
            "x.account_id, x.token_hash || n.i, x.auth_time, x.created_at, x.expires_at",
        ),
        _ => (
            "request_key, account_id, session_id, client_id, aud, scope, resources, created_at, expires_at, polled_at",
            "x.request_key || n.i, x.account_id, x.session_id, x.client_id, x.aud, x.scope, x.resources, x.created_at, x.expires_at, 0",
        ),
    };
    let sql = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {n})
         INSERT INTO {table} (id, issuer_id, {columns}) SELECT x.id || '-' || n.i, x.issuer_id, {values}
           FROM n JOIN (SELECT * FROM {table} ORDER BY id DESC LIMIT 1) x ON 1 = 1 RETURNING id"
    );
    assert_eq!(world.database.column(&sql).await.len(), n);
}

/// What an agent, its user and its service have: delegation, tokens, session, an open question.
async fn used(world: &World) -> Value {
    let (_, tokens, ..) = world.delegated().await;
    let (_, asked) = world.exchange("desk-agent", &tokens, &[("scope", "api.write")]).await;
    assert_eq!(asked["error"], "consent_required", "{asked}");
    tokens
}

/// What ends with it, and is alive.
const MINE: [&[&str]; 3] = [
    &[
        "session WHERE ended_at IS NULL",
        ALIVE,
        "delegation WHERE ended_at IS NULL AND account_id = (SELECT id FROM account WHERE email = 'alice@example.com')",
    ],
    &[
        ALIVE,
        "signin_consent WHERE ended_at IS NULL",
        "ticket WHERE closed_at IS NULL",
        "consent WHERE over_at IS NULL AND delegation_id IS NOT NULL",
    ],
    &["ticket WHERE closed_at IS NULL", "delegation WHERE ended_at IS NULL"],
];

async fn what(world: &World, n: usize) -> Removed {
    match n {
        0 => {
            Removed::User(AccountId::from(one(world, "SELECT id FROM account WHERE email = 'alice@example.com'").await))
        }
        1 => Removed::Client(ClientKey::from(one(world, "SELECT id FROM client WHERE client_id = 'desk-agent'").await)),
        _ => Removed::Service(world.service.url.clone()),
    }
}

both! {
    /// A server ends in the middle of it. The thing is enabled again meanwhile, and does not live before another has come to the end.
    async fn it_comes_back_when_all_of_it_has_ended(world: World) {
        let tokens = used(&world).await;
        others(&world, 40).await;
        for table in ["session", "token_family", "ticket"] {
            many(&world, table, 300).await;
        }
        for (n, place) in places(&world).await.iter().enumerate().rev() {
            let mut before = Vec::new();
            for of in MINE[n] {
                before.push(count(&world, of).await);
            }
            assert_eq!(turn(&world, place, true).await["status"], "disabled");
            for (of, before) in MINE[n].iter().zip(before) {
                assert_eq!(count(&world, of).await, before, "{place} {of}: whoever disables waits for the end of nothing");
            }
            let mut tx = world.app.store.begin().await.unwrap();
            let ended = tx.end_given_under(&what(&world, n).await, world.clock.now(), 256).await.unwrap();
            assert_eq!((ended.rows, ended.sessions.len()), (256, if n == 0 { 256 } else { 0 }), "{place}");
            tx.commit().await.unwrap();

            assert_eq!(turn(&world, place, false).await["status"], "withdrawing", "{place}");
            assert_eq!(world.api("GET", place, &world.admin_token()).await.json()["status"], "withdrawing");
            assert_ne!(world.exchange("desk-agent", &tokens, &[]).await.0, 200, "{place}: nothing of before counts");
            withdraw_many::under_removed(&world.host).await.unwrap();
            assert_eq!(world.api("GET", place, &world.admin_token()).await.json()["status"], "active", "{place}");
            for of in MINE[n] {
                assert_eq!(count(&world, of).await, 0, "{place} {of}");
            }
            assert_eq!(count(&world, "removed").await, 0);
            // So that there is something for the next one.
            world.clock.advance(Seconds(11));
            world.database.column("DELETE FROM ticket RETURNING id").await;
            let browser = world.signed_in(ALICE).await;
            let tokens = world.tokens(&browser, "desk-agent").await;
            world.exchange("desk-agent", &tokens, &[]).await;
            for table in ["session", "token_family", "ticket"] {
                many(&world, table, 300).await;
            }
        }
    }
}

both! {
    /// What happens in one transaction happened before what is disabled in the next, or does not happen.
    async fn nothing_made_in_the_moment_outlives_it(world: World) {
        let rows = ["account WHERE email = 'alice@example.com'", "client WHERE client_id = 'desk-agent'"];
        for (place, row) in places(&world).await.iter().zip(rows) {
            for asks in [false, true] {
                let browser = world.signed_in(ALICE).await;
                let question = if asks { Some(browser.get(&World::authorize_path("desk-agent", &[("prompt", "consent")])).await) } else { None };
                if !asks {
                    world.tokens(&browser, "desk-agent").await;
                }
                let (disabled, answer) = beside(&world, row, async || turn(&world, place, true).await, async || {
                    match &question {
                        Some(page) => browser.submit(page, "/authorize/decision", &[("decision", "allow")]).await,
                        None => browser.get(&World::authorize_path("desk-agent", &[])).await,
                    }
                }).await;
                assert_eq!(disabled["status"], "disabled");
                let location = answer.location();
                let code = if location.contains("code=") { query(&location, "code") } else { None };
                withdraw_many::under_removed(&world.host).await.unwrap();
                assert_eq!(turn(&world, place, false).await["status"], "active");
                world.clock.advance(Seconds(2));
                assert_eq!(count(&world, ALIVE).await, 0, "{row}");
                assert_eq!(count(&world, "signin_consent WHERE ended_at IS NULL").await, i64::from(row.starts_with("account")), "{row}");
                if let Some(code) = code {
                    assert_eq!(world.token("desk-agent", &code_grant(&code)).await.1["error"], "invalid_grant", "{row}");
                }
            }
        }
    }
}

both! {
    async fn nobody_is_signed_in_in_the_moment(world: World) {
        let [place, ..] = places(&world).await;
        let row = "account WHERE email = 'alice@example.com'";
        let login = async || {
            let browser = world.browser();
            let page = browser.get("/login").await;
            let answer = browser.submit(&page, "/login", &[("email", ALICE), ("password", PASSWORD)]).await;
            assert!([303, 422].contains(&answer.status), "{} {}", answer.status, answer.body);
            answer
        };
        beside(&world, row, async || turn(&world, &place, true).await, login).await;
        withdraw_many::under_removed(&world.host).await.unwrap();
        assert_eq!(turn(&world, &place, false).await["status"], "active");
        assert_eq!(count(&world, "session WHERE ended_at IS NULL").await, 0);
        // The same where it is the password that changes.
        let change = async || {
            let mut tx = world.app.store.begin().await.unwrap();
            let account = tx.set_password(ALICE, Some("another")).await.unwrap().unwrap();
            tx.sign_out_everywhere(&account, world.clock.now()).await.unwrap();
            tx.commit().await.unwrap();
        };
        beside(&world, row, change, login).await;
        assert_eq!(count(&world, "session WHERE ended_at IS NULL").await, 0);
    }
}

/// Two at once. On PostgreSQL the first has its turn first, and the second is on its way by then; SQLite has one writer, and who of those that
/// wait comes next is not known.
async fn beside<A, B>(
    world: &World,
    row: &str,
    first: impl AsyncFnOnce() -> A,
    second: impl AsyncFnOnce() -> B,
) -> (A, B) {
    if world.host.database.is_private() {
        return tokio::join!(first(), second());
    }
    let (held, pid) = world.hold_where(row).await;
    let second = async {
        world.waiting(pid, 1).await;
        second().await
    };
    let release = async {
        world.waiting(pid, 2).await;
        drop(held);
    };
    let (first, second, ()) = tokio::join!(first(), second, release);
    (first, second)
}

/// An agent asks while it, its user or its service is disabled. Its request goes through two transactions, of which the second waits here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_question_is_asked_in_the_moment() {
    use sqlx::Connection as _;
    let world = World::start(Engine::Postgres).await;
    for place in &places(&world).await {
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        let mut held = sqlx::PgConnection::connect(&world.database.url).await.unwrap();
        sqlx::raw_sql("BEGIN; SELECT id FROM account WHERE email = 'alice@example.com' FOR KEY SHARE")
            .execute(&mut held)
            .await
            .unwrap();
        let pid = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut held).await.unwrap();
        let disable = async {
            world.waiting(pid, 1).await;
            turn(&world, place, true).await;
            withdraw_many::under_removed(&world.host).await.unwrap();
            drop(held);
        };
        let ((status, body), ()) = tokio::join!(world.exchange("desk-agent", &tokens, &[]), disable);
        assert!([400, 401].contains(&status), "{body}");
        assert_eq!(turn(&world, place, false).await["status"], "active");
        assert_ne!(body["error"], "consent_required", "{place}");
        assert_eq!(count(&world, "ticket").await, 0, "{place}");
        world.clock.advance(Seconds(2));
    }
}

/// A server is killed while it ends what a client had: the next one goes on, and the client lives when that is done.
async fn killed_in_the_middle(engine: Engine) {
    let world = World::start(engine).await;
    used(&world).await;
    many(&world, "token_family", 5000).await;
    let place = "/clients/desk-agent";
    turn(&world, place, true).await;
    turn(&world, place, false).await;
    let folder = leave_as_it_is(&world);
    let mut server = serve(&folder).await;
    let all = 5001;
    eventually("the middle", async || count(&world, ALIVE).await < all).await;
    server.signal("KILL");
    server.ended().await;
    let left = count(&world, ALIVE).await;
    let row = "SELECT status FROM (SELECT CASE WHEN disabled_at IS NULL THEN 'alive' ELSE 'dead' END AS status FROM client WHERE client_id = 'desk-agent') x";
    assert_eq!(one(&world, row).await, if count(&world, "removed").await == 0 { "alive" } else { "dead" });
    assert!((all - left) % 256 == 0 || left == 0, "batch after batch: {left}");
    let server = serve(&folder).await;
    eventually("the end", async || count(&world, "removed").await == 0).await;
    drop(server);
    assert_eq!((count(&world, ALIVE).await, one(&world, row).await.as_str()), (0, "alive"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_another_goes_on_on_sqlite() {
    killed_in_the_middle(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_another_goes_on_on_postgres() {
    killed_in_the_middle(Engine::Postgres).await;
}
