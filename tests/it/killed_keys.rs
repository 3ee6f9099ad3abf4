//! Commands on keys that are ended by `kill -9` somewhere: the same command, run again, completes what was begun, and a server goes on.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::harness::{ALICE, Engine, Serving, World, avouch, eventually, run, text};
use crate::keys::{post, signed_by, states};
use crate::paths::add;
use crate::process::{leave, serve};

/// A server that is a process of its own, and what an agent needs there.
struct There {
    world: World,
    folder: TempDir,
    server: Serving,
    tokens: Value,
}

impl There {
    async fn with(world: World) -> Self {
        let (folder, _) = leave(&world).await;
        let server = serve(&folder).await;
        let world = world.at(server.url.clone());
        let tokens = world.tokens(&world.signed_in(ALICE).await, "desk-agent").await;
        Self { world, folder, server, tokens }
    }

    async fn start(engine: Engine) -> Self {
        Self::with(World::start(engine).await).await
    }

    async fn restart(self) -> Self {
        let Self { world, folder, mut server, tokens } = self;
        server.signal("TERM");
        server.ended().await;
        let server = serve(&folder).await;
        Self { world: world.at(server.url.clone()), folder, server, tokens }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = avouch(self.folder.path(), args);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Runs a command to its end, which is a good one, and answers with what it printed.
    fn done(&self, args: &[&str]) -> String {
        let output = run(self.folder.path(), args);
        assert_eq!(output.status.code(), Some(0), "{args:?} {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs a command until something has come true, or it has ended by itself before, and kills it then.
    async fn killed(&self, args: &[&str], when: impl AsyncFn() -> bool) {
        let mut child = self.command(args).spawn().unwrap();
        eventually("the moment", async || when().await || child.try_wait().unwrap().is_some()).await;
        end(&mut child);
    }

    async fn count(&self, what: &str) -> i64 {
        self.world.database.column(&format!("SELECT COUNT(*) FROM {what}")).await[0].parse().unwrap()
    }

    /// There is exactly one key that signs, and it does.
    async fn signs(&self) -> String {
        assert_eq!(self.count("signing_key WHERE issuer_id = 'default' AND state = 'active'").await, 1);
        signed_by(&self.world, &self.tokens).await
    }

    /// Keeps rows locked for as long as what is returned lives, where an engine can.
    async fn hold(&self, rows: &str) -> Option<sqlx::PgConnection> {
        if self.world.host.database.is_private() {
            return None;
        }
        let mut held = sqlx::PgConnection::connect(&self.world.database.url).await.unwrap();
        let sql = AssertSqlSafe(format!("BEGIN; SELECT kid FROM signing_key WHERE {rows} FOR UPDATE"));
        sqlx::raw_sql(sql).execute(&mut held).await.unwrap();
        Some(held)
    }

    /// Agents and operators who do not know of anything, for as long as they are let.
    fn at_work(&self) -> AtWork {
        let (world, tokens, stop) =
            (self.world.at(self.server.url.clone()), self.tokens.clone(), watch::Sender::new(false));
        let stopped = stop.subscribe();
        let work = tokio::spawn(async move {
            let mut minted = 0;
            while !*stopped.borrow() {
                signed_by(&world, &tokens).await;
                minted += 1;
                if minted % 5 == 0 {
                    let url = format!("{}/api/v1/issuers", world.url);
                    let body = format!(r#"{{"id": "made-{minted}", "name": "Made"}}"#);
                    let request = world.http.post(url).bearer_auth(world.admin_token());
                    let made = request.header("content-type", "application/json").body(body).send().await.unwrap();
                    assert_eq!(made.status(), 201, "{:?}", made.text().await);
                }
            }
            minted
        });
        AtWork { work, stop: Arc::new(stop) }
    }
}

struct AtWork {
    work: JoinHandle<usize>,
    stop: Arc<watch::Sender<bool>>,
}

impl AtWork {
    async fn ended(self) -> usize {
        self.stop.send_replace(true);
        self.work.await.unwrap()
    }
}

fn end(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

async fn resealing_killed_midway(engine: Engine) {
    let world = World::start(engine).await;
    for n in 0..250 {
        add(&world, &format!("i{n}")).await;
    }
    let there = There::with(world).await;
    let old = there.world.database.column("SELECT id FROM sealing_key").await.remove(0);
    let of_old = format!("signing_key WHERE sealed_by = '{old}'");
    // Where a row can be held, the command is in the middle for certain.
    let held = there.hold("issuer_id = 'i7'").await;
    let work = there.at_work();
    let left = if held.is_some() { 1 } else { 250 };
    there.killed(&["keys", "reseal"], async || there.count(&of_old).await <= left).await;
    if held.is_some() {
        assert_eq!(there.count(&of_old).await, 1);
    }
    if held.is_some() {
        let listed: Value = serde_json::from_str(&there.done(&["keys", "list", "--json"])).unwrap();
        let sealing: Vec<_> = listed["sealing_keys"].as_array().unwrap().iter().collect();
        let left = sealing.iter().find(|key| key["id"] == old.as_str()).unwrap();
        assert_eq!((sealing.len(), &left["state"], &left["keys"]), (2, &"leaving".into(), &1.into()), "{listed}");
        assert!(there.done(&["keys", "list"]).contains("The sealing key is being changed"));
    }
    drop(held);
    there.signs().await;
    let report: Value = serde_json::from_str(&there.done(&["keys", "reseal", "--json"])).unwrap();
    assert_eq!((&report["to_do"], &report["unopened"]), (&serde_json::json!([]), &serde_json::json!([])), "{report}");
    assert!(work.ended().await > 0);
    assert_eq!(there.count(&of_old).await, 0);
    let sealed_by =
        there.world.database.column("SELECT DISTINCT sealed_by FROM signing_key WHERE sealed_by IS NOT NULL").await;
    assert_eq!(sealed_by, [report["to"].as_str().unwrap()]);
    assert_eq!(there.count("journal WHERE kind = 'reseal.began'").await, 1);
    assert_eq!(there.count("journal WHERE kind = 'reseal.ended'").await, 1);
    let there = there.restart().await;
    there.signs().await;
    let log = fs::read_to_string(there.folder.path().join("log")).unwrap();
    assert!(!log.contains("ERROR"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resealing_killed_midway_on_sqlite() {
    resealing_killed_midway(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resealing_killed_midway_on_postgres() {
    resealing_killed_midway(Engine::Postgres).await;
}

/// At each step of it, or shortly after.
async fn resealing_killed_anywhere(engine: Engine) {
    let mut there = There::start(engine).await;
    let keys = Path::new(&there.world.database.keys()).to_owned();
    for step in 0..7 {
        let current = there.world.database.column("SELECT id FROM sealing_key WHERE state = 'current'").await.remove(0);
        let moved = format!("signing_key WHERE sealed_by <> '{current}'");
        let began = there.count("journal WHERE kind = 'reseal.began'").await;
        let ended = there.count("journal WHERE kind = 'reseal.ended'").await;
        let kept = keys.join(format!("sealing-{current}.key"));
        there
            .killed(&["keys", "reseal"], async || match step {
                0 => keys.join("sealing-next.key").exists(),
                1 => there.count("sealing_key WHERE state = 'next'").await > 0,
                2 => there.count("journal WHERE kind = 'reseal.began'").await > began,
                3 => there.count(&moved).await > 0,
                4 => there.count("journal WHERE kind = 'reseal.ended'").await > ended,
                5 => kept.exists(),
                _ => kept.exists() && !keys.join("sealing-next.key").exists(),
            })
            .await;
        there.signs().await;
        if step % 3 == 2 {
            there = there.restart().await;
        }
    }
    there.done(&["keys", "reseal"]);
    let there = there.restart().await;
    there.signs().await;
    assert_eq!(there.count("sealing_key WHERE state IN ('next', 'leaving')").await, 0);
    let sealed_by =
        there.world.database.column("SELECT DISTINCT sealed_by FROM signing_key WHERE sealed_by IS NOT NULL").await;
    assert_eq!(sealed_by, there.world.database.column("SELECT id FROM sealing_key WHERE state = 'current'").await);
    let output = run(there.folder.path(), &["check-config"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resealing_killed_anywhere_on_sqlite() {
    resealing_killed_anywhere(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resealing_killed_anywhere_on_postgres() {
    resealing_killed_anywhere(Engine::Postgres).await;
}

/// Before the key is published, between the two steps, and after.
async fn rotating_killed(engine: Engine) {
    let there = There::start(engine).await;
    let rotate = ["keys", "rotate", "--force", "--reason", "a test"];
    let pending = "signing_key WHERE issuer_id = 'default' AND state = 'pending'";
    let activated = "journal WHERE issuer_id = 'default' AND kind = 'key.activated'";
    let first = there.signs().await;
    // What stands between is the command's doing, not the server's.
    let before = there.count(activated).await;
    let held = there.hold("state = 'active' AND issuer_id = 'default'").await;
    let blocked = "pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE signing_key%'";
    if held.is_some() {
        there.killed(&rotate, async || there.count(blocked).await > 0).await;
    }
    drop(held);
    assert_eq!(there.signs().await, first, "nothing happened");
    there.killed(&rotate, async || there.count(pending).await > 0).await;
    there.signs().await;
    there.killed(&rotate, async || there.count(activated).await > before).await;
    there.signs().await;
    there.done(&rotate);
    let second = there.signs().await;
    assert_ne!(first, second);
    assert_eq!(there.count(pending).await, 0);
    let set = there
        .world
        .database
        .column("SELECT kid FROM signing_key WHERE state IN ('active', 'retiring') AND issuer_id = 'default'")
        .await;
    assert!(set.contains(&first) && set.contains(&second), "what was signed before is verified: {set:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotating_killed_on_sqlite() {
    rotating_killed(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotating_killed_on_postgres() {
    rotating_killed(Engine::Postgres).await;
}

/// In the transaction, after it, and while delegations are withdrawn.
async fn revoking_killed(engine: Engine) {
    let there = There::start(engine).await;
    let kid = there.signs().await;
    let revoke = ["keys", "revoke", &kid, "--reason", "a test", "--withdraw-since", "2020-01-01T00:00:00Z"];
    let reports = ["md", "json"].map(|ending| there.folder.path().join(format!("key-revoked-{kid}.{ending}")));
    let no_report = || assert!(reports.iter().all(|report| !report.exists()), "half a report is none");
    if states(&there.world).await.iter().all(|(_, state)| state != "pending") {
        assert_eq!(post(&there.world, "prepare", &serde_json::json!({})).await.status, 201);
    }
    let held = there.hold("state = 'pending' AND issuer_id = 'default'").await;
    let blocked = "pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE signing_key%'";
    if held.is_some() {
        there.killed(&revoke, async || there.count(blocked).await > 0).await;
        no_report();
    }
    drop(held);
    eventually("what the dead one held is let go", async || {
        there.count("signing_key WHERE state = 'revoked'").await == 0
    })
    .await;
    assert_eq!(there.signs().await, kid, "nothing happened");

    // Where the engine can, the delegation is held: then the key is revoked, and nothing more.
    let delegation = there.world.database.column("SELECT id FROM delegation").await.remove(0);
    let held = if engine == Engine::Postgres { Some(there.world.hold(&delegation).await) } else { None };
    there.killed(&revoke, async || there.count("signing_key WHERE state = 'revoked'").await > 0).await;
    if held.is_some() {
        no_report();
        assert_eq!(there.count("delegation WHERE ended_at IS NOT NULL").await, 0);
    }
    drop(held);
    assert_eq!(
        there.count("signing_key WHERE issuer_id = 'default' AND state = 'active'").await,
        1,
        "another one signs"
    );
    let printed = there.done(&revoke);
    assert!(printed.contains("A signing key was revoked"), "{printed}");
    assert_eq!(fs::read_to_string(&reports[0]).unwrap().trim(), printed.trim());
    let report: Value = serde_json::from_str(&fs::read_to_string(&reports[1]).unwrap()).unwrap();
    assert_eq!(report["kid"], kid.as_str());
    assert!(report["alive"].as_u64().unwrap() > 0, "{report}");
    let parts = fs::read_dir(there.folder.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|ending| ending == "part"));
    assert_eq!(parts.count(), 0);
    assert_eq!(there.count("delegation WHERE ended_at IS NULL").await, 0, "what was to be withdrawn is");
    assert_eq!(there.count("journal WHERE kind = 'key.revoked'").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoking_killed_on_sqlite() {
    revoking_killed(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoking_killed_on_postgres() {
    revoking_killed(Engine::Postgres).await;
}
