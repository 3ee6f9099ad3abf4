//! Databases that fail: everyone is told to come back, readiness says why, and when it is over everything works again.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use avouch::store::{self, StoreError};
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};

use crate::harness::{
    ALICE, Answer, Browser, Database, Engine, Line, Serving, World, avouch, client, declarations, eventually, pooler,
    run, text,
};
use crate::mint::{another, is_minted, prepared};
use crate::process::{leave, prepared as prepared_folder, serve, serve_as};

/// A world with everything that the requests below need.
struct Before {
    world: World,
    browser: Browser,
    tokens: Value,
    delegation: String,
    code: String,
    /// A sign-in page that somebody has open.
    page: (Browser, Answer),
}

impl Before {
    async fn of(world: World) -> Self {
        let (browser, tokens, delegation, _) = world.delegated().await;
        let code = world.code(&browser, "desk-agent", &[]).await;
        let somebody = world.browser();
        let page = somebody.get("/login").await;
        Self { world, browser, tokens, delegation, code, page: (somebody, page) }
    }

    /// One request of each kind that writes, and of those that only read where `reads`: all get a 503 that says when to come back.
    async fn everyone_has_to_wait(&self, reads: bool) {
        let Self { world, browser, tokens, delegation, code, page: (somebody, page) } = self;
        let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
        let exchange = [
            ("grant_type", crate::harness::EXCHANGE),
            ("requested_token_type", crate::harness::ID_JAG),
            ("audience", world.service.url.as_str()),
            ("scope", "api.read"),
            ("subject_token", tokens["access_token"].as_str().unwrap()),
            ("subject_token_type", crate::harness::ACCESS_TOKEN),
        ];
        let admin = world.admin_token();
        let path = format!("/delegations/{delegation}");
        let typed = [("email", ALICE), ("password", "wrong")];
        let mut answers = vec![
            ("exchange", world.token_raw("desk-agent", &exchange).await),
            ("client assertion", world.token_raw("jwt-agent", &exchange).await),
            ("code", world.token_raw("desk-agent", &crate::harness::code_grant(code)).await),
            ("refresh", world.token_raw("desk-agent", &refresh).await),
            ("withdrawal", world.api("DELETE", &path, &admin).await),
            ("sign-in", somebody.submit(page, "/login", &typed).await),
        ];
        if reads {
            answers.extend([
                ("list", world.api("GET", "/delegations", &admin).await),
                ("connections", browser.get("/connections").await),
                ("authorize", browser.get(&World::authorize_path("desk-agent", &[])).await),
                ("ticket", browser.get("/consent/anything").await),
            ]);
        }
        for (what, answer) in answers {
            // Where the client and where it wants its answer are known, it hears of it there (RFC 6749 section 4.1.2.1).
            if what == "authorize" && answer.status == 303 {
                assert!(answer.location().contains("error=temporarily_unavailable"), "{}", answer.location());
                continue;
            }
            assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{what}: {}", answer.body);
            if answer.header("content-type").contains("json") {
                let (error, body) = (json!("temporarily_unavailable"), answer.json());
                assert!(body["error"] == error || body["code"] == error, "{what}: {body}");
            } else {
                assert!(answer.body.contains("We are busy"), "{what}: {}", answer.body);
            }
        }
    }

    async fn everything_works(&self) {
        let Self { world, tokens, delegation, .. } = self;
        eventually("it is ready", async || ready(world).await.status == 200).await;
        eventually("a mint", async || world.exchange("desk-agent", tokens, &[]).await.0 == 200).await;
        let answer = world.api("DELETE", &format!("/delegations/{delegation}"), &world.admin_token()).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
}

/// Of what would otherwise never end.
async fn in_time<T>(waits: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(1), waits).await.expect("it came to an end")
}

async fn ready(world: &World) -> Answer {
    Answer::read(world.http.get(format!("{}/readyz", world.url)).send().await.unwrap()).await
}

async fn not_ready(world: &World, says: &str) {
    eventually(says, async || {
        let answer = ready(world).await;
        answer.status == 503 && answer.json()["status"] == says
    })
    .await;
}

fn file(world: &World) -> PathBuf {
    world.database.url.strip_prefix("sqlite://").unwrap().into()
}

/// A server that refuses, and one that stands still: a request that is under way is let go, those that come later do not wait at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_that_does_not_answer() {
    for line in [Line::Cut, Line::Frozen] {
        let (world, wire) = World::by_wire().await;
        let before = Before::of(world).await;
        assert_eq!(ready(&before.world).await.status, 200);
        wire.set(line);
        let (status, body) = in_time(before.world.exchange("desk-agent", &before.tokens, &[])).await;
        assert_eq!((status, &body["error"]), (503, &json!("temporarily_unavailable")), "{line:?}: {body}");
        not_ready(&before.world, "the database does not answer").await;
        before.everyone_has_to_wait(true).await;
        let keys = before.world.http.get(format!("{}/jwks.json", before.world.url)).send().await.unwrap();
        assert_eq!(keys.status(), 200, "what takes no row is answered");
        wire.set(Line::Open);
        before.everything_works().await;
    }
}

/// The log says why, once, and when it is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_why_the_database_does_not_answer() {
    let (world, wire) = World::by_wire().await;
    let (folder, delegation) = leave(&world).await;
    let server = serve(&folder).await;
    let get = async |path: &str| {
        let request = client().get(format!("{}{path}", server.url)).bearer_auth(world.admin_token());
        Answer::read(request.send().await.unwrap()).await
    };
    wire.set(Line::Cut);
    eventually("it is not ready", async || get("/readyz").await.status == 503).await;
    let asked = get(&format!("/api/v1/delegations/{delegation}")).await;
    wire.set(Line::Open);
    eventually("it is ready", async || get("/readyz").await.status == 200).await;
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    let lines = |what: &str| log.lines().filter(|line| line.contains(what)).collect::<Vec<_>>();
    let begin = lines("ERROR the database does not answer");
    assert!(begin.len() == 1 && begin[0].contains("Connection refused"), "{log}");
    assert_eq!(lines("the database answers again").len(), 1, "{log}");
    let of_request = lines(asked.header("x-request-id"));
    assert!(of_request.len() == 1 && of_request[0].contains("Connection refused"), "{log}");
}

/// A process that stands still in the middle of a transaction holds up nobody for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_process_that_stands_still() {
    let world = World::start(Engine::Postgres).await;
    let (_, tokens, delegation, _) = world.delegated().await;
    let replica = world.replica(&declarations(&world.service.url)).await;
    let mut held = replica.app.store.begin().await.unwrap();
    assert_eq!(held.lock_delegations(&[&delegation]).await.unwrap().len(), 1);
    let (status, body) = in_time(world.exchange("desk-agent", &tokens, &[])).await;
    assert_eq!(status, 200, "{body}");
    let Err(error) = held.lock_delegations(&[&delegation]).await else { panic!("its transaction is over") };
    assert!(error.is_cut_off(), "{error:?}");
}

/// Nor for a lock that somebody else's program holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_lock_for_ever() {
    let world = World::start(Engine::Postgres).await;
    let (_, tokens, delegation, _) = world.delegated().await;
    let held = world.hold(&delegation).await;
    let (status, body) = in_time(world.exchange("desk-agent", &tokens, &[])).await;
    assert_eq!((status, &body["error"]), (503, &json!("temporarily_unavailable")), "{body}");
    drop(held);
    eventually("a mint", async || world.exchange("desk-agent", &tokens, &[]).await.0 == 200).await;
}

/// A batch whose connection the server ends is run again: its callers notice nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_cut_off_is_run_again() {
    let world = World::start(Engine::Postgres).await;
    let (_, _, delegation, _) = world.delegated().await;
    let good = prepared(&world).await;
    let held = world.hold(&delegation).await;
    let before = world.host.database.batches();
    let (store, mint) = (world.app.store.clone(), another(&world, &good));
    let mint = tokio::spawn(async move { store.mint(mint, None).await.unwrap() });
    // Backends of ours that wait for a lock are that batch.
    let end = "SELECT COUNT(pg_terminate_backend(w.pid)) FROM pg_locks w JOIN pg_locks r ON r.pid = w.pid AND r.relation = 'delegation'::regclass
                WHERE NOT w.granted";
    eventually("the batch is cut off", async || world.database.column(end).await != ["0"]).await;
    drop(held);
    assert!(is_minted(&mint.await.unwrap()));
    assert!(world.host.database.batches() > before + 1);
}

#[tokio::test]
async fn a_pooler_by_transaction_is_refused() {
    let database = Database::make(Engine::Postgres).await;
    let url = pooler(&database.url).await;
    let error = store::Database::postgres(&url).await.err().unwrap();
    assert!(matches!(error, StoreError::Pooler), "{error:?}");
    assert!(database.column("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()").await.is_empty());
}

/// Locked by another process for longer than anyone waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_file() {
    let before = Before::of(World::start(Engine::Sqlite).await).await;
    let mut other = SqliteConnection::connect(&before.world.database.url).await.unwrap();
    let held = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    not_ready(&before.world, "the database is locked").await;
    let (status, body) = before.world.exchange("desk-agent", &before.tokens, &[]).await;
    assert_eq!((status, &body["error"]), (503, &json!("temporarily_unavailable")), "{body}");
    let path = format!("/delegations/{}", before.delegation);
    let withdrawal = before.world.api("DELETE", &path, &before.world.admin_token()).await;
    assert_eq!((withdrawal.status, withdrawal.header("retry-after")), (503, "1"), "{}", withdrawal.body);
    let page = before.browser.get("/connections").await;
    assert_eq!(page.status, 200, "reading goes on");
    held.rollback().await.unwrap();
    before.everything_works().await;
}

/// A file that was deleted, moved away, replaced, or whose log was: nothing is written where nobody would find it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_gone() {
    type Lose = fn(&Path);
    let away = |path: &Path| path.with_extension("away");
    let ways: [(&str, bool, Lose); 5] = [
        ("deleted", true, |path| std::fs::remove_file(path).unwrap()),
        ("moved", true, |path| std::fs::rename(path, path.with_extension("away")).unwrap()),
        ("replaced", true, |path| {
            std::fs::copy(path, path.with_extension("away")).unwrap();
            std::fs::rename(path.with_extension("away"), path).unwrap();
        }),
        ("its log deleted", false, |path| std::fs::remove_file(path.with_extension("db-wal")).unwrap()),
        ("its log replaced, as by a command that finds none", false, |path| {
            std::fs::copy(path.with_extension("db-wal"), path.with_extension("away")).unwrap();
            std::fs::rename(path.with_extension("away"), path.with_extension("db-wal")).unwrap();
        }),
    ];
    for (what, reads, lose) in ways {
        let before = Before::of(World::start(Engine::Sqlite).await).await;
        let path = file(&before.world);
        lose(&path);
        not_ready(&before.world, "the database's file was moved, deleted or replaced").await;
        before.everyone_has_to_wait(reads).await;
        if what == "moved" {
            std::fs::rename(away(&path), &path).unwrap();
            before.everything_works().await;
        } else {
            assert_eq!(path.exists(), what != "deleted", "no other is made");
        }
    }
}

/// A disk without room, by a limit on the size of files: every write fails until there is room again, and works at once then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk() {
    let (world, folder, delegation) = prepared_folder(Engine::Sqlite, |_| String::new()).await;
    // A process that does not ignore the signal dies of a write that is too large.
    let server = serve_as(&folder, "trap '' XFSZ").await;
    let limit = |bytes: &str| {
        let pid = server.child.id().to_string();
        let set = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:")]).status().unwrap();
        assert!(set.success());
    };
    let get =
        async |path: &str| Answer::read(client().get(format!("{}{path}", server.url)).send().await.unwrap()).await;
    let withdraw = async || {
        let url = format!("{}/api/v1/delegations/{delegation}", server.url);
        Answer::read(client().delete(url).bearer_auth(world.admin_token()).send().await.unwrap()).await
    };
    assert_eq!(get("/readyz").await.status, 200);
    limit("0");
    eventually("it is not ready", async || get("/readyz").await.json()["status"] == "the disk is full").await;
    for _ in 0..3 {
        let answer = withdraw().await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{}", answer.body);
    }
    assert_eq!(get("/readyz").await.status, 503);
    limit("unlimited");
    assert_eq!(withdraw().await.status, 202, "the first write after it");
    eventually("it is ready", async || get("/readyz").await.status == 200).await;
}

/// One server works on a file; commands do beside it.
#[tokio::test]
async fn a_second_server_on_a_file_does_not_start() {
    let (_world, folder, _) = prepared_folder(Engine::Sqlite, |_| String::new()).await;
    let mut first = serve(&folder).await;
    let toml = std::fs::read_to_string(folder.path().join("avouch.toml")).unwrap();
    let path = toml.split("sqlite://").nth(1).unwrap().split('"').next().unwrap();
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(path, &link).unwrap();
    let by_link = folder.path().join("link.toml");
    std::fs::write(&by_link, toml.replace(path, &link.display().to_string())).unwrap();
    for config in ["avouch.toml", "link.toml"] {
        let mut second = avouch(folder.path(), &["serve", "--config", config]);
        let mut second = second.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        eventually("the second one's end", async || second.try_wait().unwrap().is_some()).await;
        let output = second.wait_with_output().unwrap();
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(3), ""), "{said}");
        assert!(said.starts_with("avouch: another server is working on /") && said.lines().count() == 1, "{said}");
    }
    let output = run(folder.path(), &["issuer", "add", "acme", "--name", "Acme"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    first.signal("KILL");
    first.ended().await;
    let _next: Serving = serve(&folder).await;
}

/// Whatever hangs, the end comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_database_does_not_keep_a_server_from_ending() {
    let (world, wire) = World::by_wire().await;
    let worker = tokio::spawn(avouch::delivery::run(world.host.clone(), world.stop.subscribe()));
    wire.set(Line::Frozen);
    not_ready(&world, "the database does not answer").await;
    world.stop.send_replace(true);
    let ends = async {
        worker.await.unwrap();
        world.host.database.close().await;
    };
    in_time(ends).await;
}
