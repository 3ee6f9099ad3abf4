//! Withdrawal of many at once, and of what one client has: what is ended, what is not, and what is left of a run that was cut short.

use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use avouch::flow::withdraw_many::BATCH;
use serde_json::{Value, json};

use crate::api::{problem, seven, user_token};
use crate::harness::{BOB, Engine, World, avouch, both, eventually, run, text};
use crate::process::{leave, leave_as_it_is};

pub(crate) async fn count(world: &World, of: &str) -> i64 {
    world.database.column(&format!("SELECT COUNT(*) FROM {of}")).await[0].parse().unwrap()
}

const STANDS: &str = "delegation WHERE ended_at IS NULL";
const TOLD: &str = "journal WHERE kind = 'withdrawal'";

/// What a call answers: how many were withdrawn, and how many are left.
async fn bulk(world: &World, query: &str, token: &str) -> (Value, Value) {
    let answer = world.api("DELETE", &format!("/delegations{query}"), token).await;
    assert_eq!(answer.status, 202, "{query} {}", answer.body);
    assert_eq!(answer.header("cache-control"), "no-store");
    let body = answer.json();
    (body["withdrawn"].clone(), body["left"].clone())
}

async fn by_each_filter(engine: Engine) {
    let world = seven(engine).await;
    let admin = world.admin_token();
    for query in [
        "",
        "?",
        "?all=false",
        "?sub=",
        "?all=true&sub=x",
        "?sub=&client_id=desk-agent",
        "?user=x",
        "?all=yes",
        "?all=true&dry_run=1",
        "?all=true&status=active",
        "?aud=a&aud=b",
        "?dry_run=true",
    ] {
        problem(&world.api("DELETE", &format!("/delegations{query}"), &admin).await, 400, "invalid_request", query);
    }
    let bob = world.database.column(&format!("SELECT sub FROM account WHERE email = '{BOB}'")).await.remove(0);
    let own = &world.service.url;
    let counts = [
        ("all=true".to_owned(), 7),
        (format!("sub={bob}"), 1),
        (format!("aud={own}"), 2),
        (format!("aud={own}&sub={bob}"), 1),
        ("client_id=desk-agent".to_owned(), 7),
        ("client_id=travel-agent".to_owned(), 1),
        (format!("client_id=travel-agent&sub={bob}"), 0),
        (format!("client_id=desk-agent&aud={own}"), 2),
        ("client_id=nobody".to_owned(), 0),
    ];
    for (query, n) in &counts {
        let (withdrawn, left) = bulk(&world, &format!("?{query}&dry_run=true"), &admin).await;
        assert_eq!((withdrawn, left), (json!(0), json!(n)), "{query}");
    }
    assert_eq!((count(&world, STANDS).await, count(&world, TOLD).await), (7, 0), "nothing happened");

    // One client's decisions only, and the others' delegation goes on.
    assert_eq!(bulk(&world, "?client_id=travel-agent", &admin).await, (json!(1), json!(0)));
    assert_eq!(count(&world, STANDS).await, 7);
    assert_eq!(count(&world, "consent WHERE ended_at IS NULL").await, 7);
    assert_eq!(bulk(&world, "?client_id=travel-agent", &admin).await, (json!(0), json!(0)), "once");
    // A user's token reaches that user's alone.
    let token = user_token(&world, BOB, "openid delegations").await;
    let other = world.database.column(&format!("SELECT sub FROM account WHERE email <> '{BOB}'")).await.remove(0);
    assert_eq!(bulk(&world, &format!("?sub={other}"), &token).await, (json!(0), json!(0)));
    assert_eq!(bulk(&world, "?all=true", &token).await, (json!(1), json!(0)));
    assert_eq!(bulk(&world, "?aud=https://s0.example", &admin).await, (json!(1), json!(0)));
    assert_eq!(count(&world, STANDS).await, 5);
    assert_eq!(bulk(&world, "?client_id=desk-agent", &admin).await, (json!(5), json!(0)));
    assert_eq!((count(&world, STANDS).await, count(&world, TOLD).await), (0, 8));
    let why = world.database.column("SELECT body FROM journal WHERE kind = 'withdrawal'").await;
    assert_eq!(why.iter().filter(|body| body.contains(r#""why":"user""#)).count(), 1);
    assert_eq!(count(&world, "consent WHERE ended_at IS NULL").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_are_withdrawn_by_each_filter_on_sqlite() {
    by_each_filter(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_are_withdrawn_by_each_filter_on_postgres() {
    by_each_filter(Engine::Postgres).await;
}

both! {
    async fn what_one_client_has_is_withdrawn_alone(world: World) {
        let (browser, tokens, id, _) = world.delegated().await;
        let other = world.tokens(&browser, "travel-agent").await;
        world.agree(&browser, "travel-agent", &other, "always", &[]).await;
        let admin = world.admin_token();
        let path = |client: &str| format!("/delegations/{id}/consents/{client}");
        for (at, token) in [
            (path("jwt-agent"), &admin),
            (path("nobody"), &admin),
            (path("a%00b"), &admin),
            (format!("/delegations/{}/consents/desk-agent", "0".repeat(32)), &admin),
            (path("desk-agent"), &user_token(&world, BOB, "openid delegations").await),
        ] {
            problem(&world.api("DELETE", &at, token).await, 404, "not_found", &at);
        }
        assert_eq!(count(&world, TOLD).await, 0);
        let answer = world.api("DELETE", &path("desk-agent"), &admin).await;
        assert_eq!((answer.status, &answer.json()["status"]), (202, &json!("active")), "the other one's stands");
        assert_eq!(answer.json()["deliveries"].as_array().unwrap().len(), 2, "{}", answer.body);
        assert_eq!(world.exchange("desk-agent", &tokens, &[]).await.1["error"], "consent_required");
        assert_eq!(world.exchange("travel-agent", &other, &[]).await.0, 200);
        assert_eq!(world.api("DELETE", &path("desk-agent"), &admin).await.status, 202);
        assert_eq!(count(&world, TOLD).await, 1, "pressed twice");
        let answer = world.api("DELETE", &path("travel-agent"), &admin).await;
        assert_eq!((answer.status, &answer.json()["status"]), (202, &json!("withdrawing")), "nothing stands any more");
    }
}

/// So many users more who agreed to the same, and used it.
pub(crate) async fn others(world: &World, n: usize) {
    let numbers = format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {n})");
    for insert in [
        "INSERT INTO account (id, issuer_id, sub, email, origin, version, decisions, created_at)
         SELECT a.id || n.i, a.issuer_id, a.sub || n.i, n.i || a.email, a.origin, 1, 0, a.created_at
           FROM n JOIN account a ON a.email = 'alice@example.com' RETURNING id",
        "INSERT INTO delegation (id, issuer_id, account_id, iss, sub, aud, created_at, mint_count, last_exp)
         SELECT SUBSTR(d.id, 1, 28) || (1000 + n.i), d.issuer_id, d.account_id || n.i, d.iss, d.sub || n.i, d.aud, d.created_at, 1, 0
           FROM n JOIN delegation d ON d.mint_count = 1 AND d.last_exp > 0 RETURNING id",
        "INSERT INTO consent (id, issuer_id, delegation_id, account_id, client_id, aud, mode, asked_scope, scope, resources, claims, ground,
                              request_key, number, created_at)
         SELECT s.id || n.i, s.issuer_id, SUBSTR(s.delegation_id, 1, 28) || (1000 + n.i), s.account_id || n.i, s.client_id, s.aud, s.mode,
                s.asked_scope, s.scope, s.resources, s.claims, s.ground, s.request_key || n.i, 1, s.created_at
           FROM n JOIN consent s ON s.number = (SELECT MAX(number) FROM consent) RETURNING id",
    ] {
        assert_eq!(world.database.column(&format!("{numbers} {insert}")).await.len(), n);
    }
}

fn withdraw(folder: &Path, args: &[&str], typed: &str) -> Output {
    let all: Vec<&str> = ["delegation", "withdraw"].iter().chain(args).copied().collect();
    let mut command = avouch(folder, &all);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Whoever does not ask reads nothing.
    let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
    child.wait_with_output().unwrap()
}

/// Each is ended as a whole: record, consent, journal, notice.
async fn assert_whole(world: &World) -> i64 {
    let ended = count(world, "delegation WHERE ended_at IS NOT NULL").await;
    assert_eq!(count(world, TOLD).await, ended);
    assert_eq!(count(world, "consent WHERE ended_at IS NOT NULL").await, ended);
    assert_eq!(count(world, "consent WHERE over_at IS NOT NULL").await, ended);
    let told = count(world, "(SELECT DISTINCT delegation_id FROM delivery WHERE round = 'first') x").await;
    assert_eq!((told, count(world, "delivery WHERE round = 'first'").await), (ended, ended));
    ended
}

async fn killed_in_the_middle(engine: Engine) {
    let world = World::start(engine).await;
    let (folder, _) = leave(&world).await;
    let folder = folder.path();
    let n = if engine == Engine::Sqlite { 200 } else { 100 };
    others(&world, n).await;
    let all = i64::try_from(n).unwrap() + 1;
    let would = withdraw(folder, &["--client-id", "desk-agent", "--dry-run", "--json"], "");
    let would: Value = serde_json::from_slice(&would.stdout).unwrap();
    assert_eq!(would, json!({"dry_run": true, "withdrawn": 0, "left": all, "failed": 0}));
    for typed in ["", "yes\n", "1\n"] {
        let refused = withdraw(folder, &["--all"], typed);
        assert_eq!(refused.status.code(), Some(2), "{typed}");
        assert!(text(&refused.stderr).contains(&format!("Type {all} to go on")), "{}", text(&refused.stderr));
    }
    for wrong in [
        &[][..],
        &["--yes"],
        &["--all", "--sub", "x"],
        &["--everything", "--issuer", "default"],
        &["--aud", ""],
        &["--all", "--issuer", "none"],
    ] {
        let refused = withdraw(folder, wrong, "");
        assert_eq!(refused.status.code(), Some(2), "{wrong:?} {}", text(&refused.stderr));
    }
    assert_eq!(assert_whole(&world).await, 0);

    let mut child = avouch(folder, &["delegation", "withdraw", "--all", "--yes"]);
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the middle", async || count(&world, TOLD).await > 0 || child.try_wait().unwrap().is_some()).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let ended = assert_whole(&world).await;
    assert!(ended > 0 && (ended % i64::from(BATCH) == 0 || ended == all), "batch after batch: {ended}");

    let left = all - ended;
    let done = withdraw(folder, &["--everything"], &format!("{left}\n"));
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert!(text(&done.stdout).contains(&format!("{left} were withdrawn.")), "{}", text(&done.stdout));
    assert!(left == 0 || text(&done.stderr).contains("(100 %)"), "{}", text(&done.stderr));
    assert_eq!(assert_whole(&world).await, all);
    let none = run(folder, &["delegation", "withdraw", "--all"]);
    assert_eq!(
        (none.status.code(), text(&none.stdout)),
        (Some(0), "0 were withdrawn.\n".into()),
        "nothing to ask about"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_it_is_started_again_on_sqlite() {
    killed_in_the_middle(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_it_is_started_again_on_postgres() {
    killed_in_the_middle(Engine::Postgres).await;
}

both! {
    /// What it got by them at the service would live on.
    async fn a_client_that_used_up_all_it_had_is_withdrawn_all_the_same(world: World) {
        let browser = world.signed_in(crate::harness::ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        world.agree(&browser, "desk-agent", &tokens, "once", &[]).await;
        assert_eq!(world.exchange("desk-agent", &tokens, &[]).await.0, 200);
        let admin = world.admin_token();
        let id = world.database.column("SELECT id FROM delegation").await.remove(0);
        let path = format!("/delegations/{id}/consents/desk-agent");
        let answer = world.api("DELETE", &path, &admin).await;
        assert_eq!((answer.status, &answer.json()["status"]), (202, &json!("withdrawing")), "{}", answer.body);
        assert_eq!(world.api("DELETE", &path, &admin).await.status, 202);
        assert_eq!(count(&world, TOLD).await, 1, "once");
    }
}

/// An agent that has used up all that it had, at a service where another agent goes on.
async fn used_up(world: &World) -> String {
    let browser = world.signed_in(crate::harness::ALICE).await;
    let tokens = world.tokens(&browser, "desk-agent").await;
    world.agree(&browser, "desk-agent", &tokens, "once", &[]).await;
    assert_eq!(world.exchange("desk-agent", &tokens, &[]).await.0, 200);
    world.database.column("SELECT id FROM delegation").await.remove(0)
}

both! {
    async fn all_of_a_client_is_also_what_it_got_by_what_it_used_up(world: World) {
        let id = used_up(&world).await;
        let admin = world.admin_token();
        assert_eq!(bulk(&world, "?client_id=desk-agent&dry_run=true", &admin).await, (json!(0), json!(1)));
        assert_eq!(bulk(&world, "?client_id=desk-agent", &admin).await, (json!(1), json!(0)));
        let record = world.api("GET", &format!("/delegations/{id}"), &admin).await.json();
        assert_eq!(record["status"], "withdrawing", "nothing else stands");
        assert_eq!(bulk(&world, "?client_id=desk-agent", &admin).await, (json!(0), json!(0)), "once");

        // Where another agent's consent stands the service is told all the same: that one mints again.
        used_up(&world).await;
        let browser = world.signed_in(crate::harness::ALICE).await;
        let other = world.tokens(&browser, "travel-agent").await;
        world.agree(&browser, "travel-agent", &other, "always", &[]).await;
        let told = count(&world, TOLD).await;
        assert_eq!(bulk(&world, "?client_id=desk-agent", &admin).await, (json!(1), json!(0)));
        assert_eq!((count(&world, TOLD).await, count(&world, STANDS).await), (told + 1, 1));
        assert_eq!(world.exchange("travel-agent", &other, &[]).await.0, 200);
        // What somebody else's withdrawal has ended at the service is not ended once more.
        used_up(&world).await;
        assert_eq!(bulk(&world, "?client_id=travel-agent", &admin).await, (json!(1), json!(0)));
        assert_eq!(bulk(&world, "?client_id=desk-agent", &admin).await, (json!(0), json!(0)));
    }
}

both! {
    async fn what_a_client_used_up_ends_when_it_is_no_longer_declared(world: World) {
        used_up(&world).await;
        let ours = crate::harness::declarations(&world.service.url);
        world.replica(&ours.replace("client_id = \"desk-agent\"", "client_id = \"desk-two\"")).await;
        assert_eq!((count(&world, STANDS).await, count(&world, TOLD).await), (0, 1));
        assert_eq!(count(&world, "removed").await, 0);
    }
}

/// A row that nobody can read is one of a batch.
async fn one_is_broken(engine: Engine) {
    let world = seven(engine).await;
    let admin = world.admin_token();
    let broken = world.database.column("SELECT id FROM delegation WHERE aud = 'https://s1.example'").await.remove(0);
    let name = world.database.column(&format!("SELECT sub FROM delegation WHERE id = '{broken}'")).await.remove(0);
    world.database.column(&format!("UPDATE delegation SET sub = 'é' WHERE id = '{broken}'")).await;
    let answer = world.api("DELETE", "/delegations?all=true", &admin).await.json();
    assert_eq!(answer, json!({"dry_run": false, "withdrawn": 6, "left": 1, "failed": 1}));
    assert_eq!((count(&world, STANDS).await, count(&world, TOLD).await), (1, 6));
    let folder = leave_as_it_is(&world);
    let done = withdraw(folder.path(), &["--all", "--yes", "--json"], "");
    assert_eq!(done.status.code(), Some(3), "{}", text(&done.stderr));
    assert!(text(&done.stderr).contains("1 could not be withdrawn"), "{}", text(&done.stderr));
    assert_eq!(text(&done.stdout), "{\"dry_run\":false,\"failed\":1,\"left\":1,\"withdrawn\":0}\n");
    world.database.column(&format!("UPDATE delegation SET sub = '{name}' WHERE id = '{broken}'")).await;
    let done = withdraw(folder.path(), &["--all", "--yes", "--json"], "");
    assert_eq!(text(&done.stdout), "{\"dry_run\":false,\"failed\":0,\"left\":0,\"withdrawn\":1}\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_cannot_be_withdrawn_keeps_back_no_other_on_sqlite() {
    one_is_broken(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_cannot_be_withdrawn_keeps_back_no_other_on_postgres() {
    one_is_broken(Engine::Postgres).await;
}

both! {
    /// The same where a client is gone; what could not be withdrawn then is when it can be.
    async fn nor_does_it_under_what_was_removed(world: World) {
        world.delegated().await;
        others(&world, 40).await;
        let alices = "SELECT d.id FROM delegation d JOIN account a ON a.id = d.account_id WHERE a.email = 'alice@example.com'";
        let broken = world.database.column(alices).await.remove(0);
        world.database.column(&format!("UPDATE delegation SET sub = 'é' || sub WHERE id = '{broken}'")).await;
        let ours = crate::harness::declarations(&world.service.url);
        let less = world.replica(&ours.replace("client_id = \"desk-agent\"", "client_id = \"desk-two\"")).await;
        assert_eq!((count(&world, STANDS).await, count(&world, "removed").await), (1, 1));
        world.database.column(&format!("UPDATE delegation SET sub = 'mended' WHERE id = '{broken}'")).await;
        avouch::delivery::run_until_idle(&less.host).await;
        assert_eq!((count(&world, STANDS).await, count(&world, "removed").await), (0, 0));
    }
}
