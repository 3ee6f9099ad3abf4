//! A server is killed while it tells clients that users signed out: none is forgotten, and each attempt is a token of its own.

use std::collections::BTreeSet;

use tempfile::TempDir;

use crate::harness::{ALICE, BOB, Behaviour, Engine, World, claims, eventually};
use crate::logout::{sign_out, told};
use crate::process::{leave_as_it_is, serve};

/// What two clients are owed of so many sessions, which have ended, for a process of its own to tell.
async fn owed(engine: Engine, sessions: usize) -> (World, TempDir) {
    let world = World::with(engine, told).await;
    for n in 0..sessions {
        let browser = world.signed_in([ALICE, BOB][n % 2]).await;
        for client_id in ["desk-agent", "travel-agent"] {
            world.tokens(&browser, client_id).await;
        }
        sign_out(&browser).await;
    }
    // The process goes by the time of day.
    let count =
        world.database.column("UPDATE delivery SET due_at = 1, give_up_at = due_at * 2 RETURNING id").await.len();
    assert_eq!(count, sessions * 2);
    let folder = leave_as_it_is(&world);
    (world, folder)
}

/// (client, session), as the database knows them.
async fn pairs(world: &World) -> BTreeSet<String> {
    world.database.column("SELECT aud || ' ' || sid FROM delivery").await.into_iter().collect()
}

/// The same as they were told.
fn heard(world: &World) -> (BTreeSet<String>, BTreeSet<String>) {
    let said = world.service.received();
    let said = said.iter().map(|form| claims(form.strip_prefix("logout_token=").unwrap()));
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    said.map(|said| (format!("{} {}", text(&said["aud"]), text(&said["sid"])), text(&said["jti"]))).unzip()
}

async fn assert_all_told(world: &World, folder: &TempDir) {
    let server = serve(folder).await;
    let left = async || world.database.column("SELECT id FROM delivery WHERE state <> 'delivered'").await.len();
    eventually("the last", async || left().await == 0).await;
    drop(server);
    let (told, jtis) = heard(world);
    assert_eq!(told, pairs(world).await);
    assert_eq!(jtis.len(), world.service.received().len(), "no token twice");
    let counted = world.database.column("SELECT CAST(SUM(attempts) AS BIGINT) FROM delivery").await;
    assert!(counted[0].parse::<usize>().unwrap() >= jtis.len(), "each attempt is counted before it is made");
}

/// After the request has been sent, and before anything is known of its answer.
async fn killed_after_the_post(engine: Engine) {
    let (world, folder) = owed(engine, 1).await;
    world.service.behave(Behaviour::Hang);
    let mut server = serve(&folder).await;
    eventually("an attempt", async || !world.service.received().is_empty()).await;
    server.signal("KILL");
    assert_eq!(server.ended().await, None);
    assert_eq!(world.database.column("SELECT state FROM delivery").await, ["queued", "queued"]);
    world.service.behave(Behaviour::Status(200));
    assert_all_told(&world, &folder).await;
    assert!(world.service.received().len() > 2, "the one that hung was told again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_the_post_on_sqlite() {
    killed_after_the_post(Engine::Sqlite).await;
}

/// Here the lease of the dead process has to run out first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_the_post_on_postgres() {
    killed_after_the_post(Engine::Postgres).await;
}

/// After the lease was taken, and before the request was sent.
async fn killed_after_the_lease(engine: Engine) {
    let (world, folder) = owed(engine, 1).await;
    let until = avouch::clock::Clock::System.now() + avouch::domain::time::Seconds(3);
    let leased =
        format!("UPDATE delivery SET lease = 'of the dead', leased_until = {until}, attempts = 1 RETURNING id");
    assert_eq!(world.database.column(&leased).await.len(), 2);
    assert_all_told(&world, &folder).await;
    assert_eq!(world.database.column("SELECT attempts FROM delivery").await, ["2", "2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_the_lease_on_sqlite() {
    killed_after_the_lease(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_the_lease_on_postgres() {
    killed_after_the_lease(Engine::Postgres).await;
}

/// Again and again, each time after so many have been told: whatever the moment is.
async fn killed_at_many_points(engine: Engine) {
    let (world, folder) = owed(engine, 12).await;
    for round in 1..=6 {
        let mut server = serve(&folder).await;
        let wanted = (world.service.received().len() + round).min(24);
        eventually("some", async || world.service.received().len() >= wanted).await;
        server.signal("KILL");
        server.ended().await;
        // As if the seconds had passed after which another process takes over what a dead one held.
        world.database.column("UPDATE delivery SET leased_until = 0 WHERE lease IS NOT NULL RETURNING id").await;
    }
    assert_all_told(&world, &folder).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_many_points_on_sqlite() {
    killed_at_many_points(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_many_points_on_postgres() {
    killed_at_many_points(Engine::Postgres).await;
}
