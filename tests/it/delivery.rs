//! Notices on their way: what each answer means, how long they are tried, and that nothing sends one twice or loses one.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use avouch::delivery;
use avouch::domain::ids::{Subject, authority};
use avouch::domain::notice::{Format, Round};
use avouch::domain::time::{Seconds, Timestamp};
use avouch::flow::issuers_admin;
use avouch::flow::lanes::{Lanes, Place};
use avouch::flow::notify::{self, Cursor};
use avouch::host::Host;
use avouch::store::NewDelivery;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use url::Url;

use crate::harness::{
    ALICE, Behaviour, Engine, FakeService, NOW, World, both, claims, declarations, eventually, twins,
};

pub(crate) const WEEK: Seconds = Seconds(7 * 24 * 3600);

/// Owes notices to `endpoint` without going through as many users.
pub(crate) async fn owe(world: &World, endpoint: &str, count: usize) -> Vec<String> {
    owe_each(world, &vec![endpoint.to_owned(); count]).await
}

/// Owes one notice to each of these.
async fn owe_each(world: &World, endpoints: &[String]) -> Vec<String> {
    let delegation = world.database.column("SELECT id FROM delegation").await.remove(0);
    let mut tx = world.app.store.begin().await.unwrap();
    let now = world.clock.now();
    let mut ids = Vec::new();
    for (n, endpoint) in endpoints.iter().enumerate() {
        let host = authority(&Url::parse(endpoint).unwrap());
        let (id, sub) = (world.app.id(), Subject::parse(&format!("user-{n}")).unwrap());
        tx.enqueue(&[NewDelivery {
            id: id.as_str().into(),
            delegation_id: Some(&delegation),
            sid: None,
            format: Format::LogoutJwt,
            round: Round::First,
            endpoint,
            host: host.as_str().into(),
            iss: &world.issuer(),
            sub: &sub,
            aud: "https://service.example",
            created_at: now,
            due_at: now,
            give_up_at: now + WEEK,
        }])
        .await
        .unwrap();
        ids.push(id);
    }
    tx.commit().await.unwrap();
    world.app.outbox_signal.notify_one();
    ids
}

/// A delegation that was used and ended, so that exactly one notice is owed now.
pub(crate) async fn one_owed(world: &World) -> String {
    let (_, _, id, _) = world.delegated().await;
    world.clock.advance(Seconds(420));
    world.api("DELETE", &format!("/delegations/{id}"), &world.admin_token()).await;
    id
}

async fn delivery_of(world: &World, delegation: &str) -> Value {
    let record = world.api("GET", &format!("/delegations/{delegation}"), &world.admin_token()).await.json();
    assert_eq!(record["deliveries"].as_array().unwrap().len(), 1, "{record}");
    record["deliveries"][0].clone()
}

async fn attempts(world: &World) -> Vec<Value> {
    let rows = world.database.column("SELECT body FROM journal WHERE kind = 'delivery.attempt' ORDER BY at").await;
    rows.iter().map(|body| serde_json::from_str(body).unwrap()).collect()
}

async fn due(world: &World) -> Timestamp {
    world.database.column("SELECT due_at FROM delivery").await[0].parse().map(Timestamp).unwrap()
}

both! {
    async fn every_answer_but_a_2xx_is_tried_again(world: World) {
        let id = one_owed(&world).await;
        let elsewhere = FakeService::start().await;
        let to = vec![("location", format!("{}/agent/auth/revoke", elsewhere.url))];
        let cases = [
            Behaviour::Status(500), Behaviour::Status(404), Behaviour::Headers(307, to.clone()), Behaviour::Headers(301, to),
            Behaviour::Status(400), Behaviour::Status(401), Behaviour::Status(304),
        ];
        let mut jtis = HashSet::new();
        let mut waits = Vec::new();
        for (n, behaviour) in cases.iter().enumerate() {
            world.service.behave(behaviour.clone());
            let now = world.clock.now();
            world.settle().await;
            let received = world.service.received();
            assert_eq!(received.len(), n + 1, "{behaviour:?} is one attempt");
            let notice = claims(&received[n]);
            assert!(jtis.insert(notice["jti"].as_str().unwrap().to_owned()), "each attempt has its own jti");
            assert_eq!((&notice["iat"], &notice["exp"]), (&json!(now), &json!(now + Seconds(120))), "signed when it is sent");
            let delivery = delivery_of(&world, &id).await;
            assert_eq!((&delivery["state"], &delivery["attempts"]), (&json!("queued"), &json!(n + 1)));
            let attempt = attempts(&world).await.remove(n);
            assert_eq!((&attempt["number"], &attempt["jti"], &attempt["state"]), (&json!(n + 1), &notice["jti"], &json!("queued")));
            let (Behaviour::Status(status) | Behaviour::Headers(status, _)) = behaviour else { unreachable!() };
            assert_eq!((&attempt["status"], &attempt["error"]), (&json!(status), &Value::Null));
            assert_eq!((&delivery["last_status"], &delivery["last_error"]), (&json!(status), &Value::Null));
            let at = due(&world).await;
            waits.push(at - now);
            world.clock.advance(at - now - Seconds(1));
            world.settle().await;
            assert_eq!(world.service.received().len(), n + 1, "not a second too early");
            world.clock.advance(Seconds(1));
        }
        assert!(elsewhere.received().is_empty(), "a redirect is not followed");
        let longest = [6, 20, 60, 180, 600, 1800, 3600];
        for (wait, longest) in waits.iter().zip(longest) {
            assert!((longest * 2 / 3..=longest).contains(&wait.0), "{waits:?}");
        }
        world.service.behave(Behaviour::Status(204));
        world.settle().await;
        let delivery = delivery_of(&world, &id).await;
        assert_eq!((&delivery["state"], &delivery["last_status"]), (&json!("delivered"), &json!(204)));
        world.clock.advance(WEEK);
        world.settle().await;
        assert_eq!(world.service.received().len(), cases.len() + 1, "and never again");
    }
}

#[tokio::test]
async fn any_2xx_delivers() {
    let world = World::start(Engine::Sqlite).await;
    world.delegated().await;
    for (n, status) in [200, 201, 202, 204, 299].into_iter().enumerate() {
        owe(&world, &format!("{}/revoke", world.service.url), 1).await;
        world.service.behave(Behaviour::Status(status));
        world.settle().await;
        let delivered = world.database.column("SELECT COUNT(*) FROM delivery WHERE state = 'delivered'").await;
        assert_eq!(delivered, [(n + 1).to_string()], "{status}");
    }
    // Whatever comes with it, as a page that goes on for ever.
    owe(&world, &format!("{}/revoke", world.service.url), 1).await;
    world.service.behave(Behaviour::Stream);
    world.settle().await;
    assert_eq!(world.database.column("SELECT COUNT(*) FROM delivery WHERE state = 'delivered'").await, ["6"]);
    assert_eq!(world.database.column("SELECT COUNT(*) FROM delivery WHERE last_error IS NOT NULL").await, ["0"]);
}

fn http_date(at: Timestamp) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(u64::try_from(at.0).unwrap()))
}

/// What a service asks for, given the time.
type Asked = fn(Timestamp) -> String;

#[tokio::test]
async fn retry_after_stretches_the_plan_and_no_more() {
    let world = World::start(Engine::Sqlite).await;
    world.delegated().await;
    let cases: [(Asked, i64, i64); 8] = [
        (|_| "9".into(), 9, 9),
        (|_| "1".into(), 4, 6),
        (|_| "86400".into(), 12, 12),
        (|_| "-5".into(), 4, 6),
        (|_| "Fri, 31 Dec 1999 23:59:59 GMT".into(), 4, 6),
        (|now| http_date(now + Seconds(9)), 9, 9),
        (|now| http_date(now + Seconds(1)), 4, 6),
        (|now| http_date(now + Seconds(86_400)), 12, 12),
    ];
    for (asked, least, most) in cases {
        let asked = asked(world.clock.now());
        owe(&world, &format!("{}/revoke", world.service.url), 1).await;
        world.service.behave(Behaviour::Headers(503, vec![("retry-after", asked.clone())]));
        world.settle().await;
        let due = world.database.column("SELECT due_at FROM delivery WHERE state = 'queued'").await;
        let wait = Timestamp(due[0].parse().unwrap()) - world.clock.now();
        assert!((least..=most).contains(&wait.0), "Retry-After: {asked} waits {wait}");
        world.service.behave(Behaviour::Status(200));
        world.clock.advance(Seconds(12));
        world.settle().await;
    }
}

both! {
    async fn after_a_week_it_ends_by_what_the_service_said_last(world: World) {
        let id = one_owed(&world).await;
        let began = world.clock.now();
        world.service.behave(Behaviour::Status(500));
        while delivery_of(&world, &id).await["state"] == "queued" {
            let wait = (due(&world).await - world.clock.now()).max(Seconds(0));
            world.clock.advance(wait);
            assert!(world.clock.now() < began + WEEK, "nothing is tried after a week");
            world.settle().await;
        }
        let delivery = delivery_of(&world, &id).await;
        assert_eq!(delivery["state"], "given_up");
        let tries = delivery["attempts"].as_i64().unwrap();
        assert!((170..=260).contains(&tries), "a week of tries: {tries}");
        assert!(world.clock.now() > began + WEEK - Seconds(3601), "and not much less");
        assert_eq!(attempts(&world).await.len(), world.service.received().len());
        world.clock.advance(WEEK);
        world.settle().await;
        assert_eq!(i64::try_from(world.service.received().len()).unwrap(), tries, "an end is an end");
        let page = world.api("GET", &format!("/delegations/{id}"), &world.admin_token()).await.json();
        assert_eq!(page["status"], "withdrawn");
    }
}

#[tokio::test]
async fn a_last_4xx_is_a_refusal() {
    let world = World::start(Engine::Sqlite).await;
    let id = one_owed(&world).await;
    // The provider itself was down for longer than a week: the notice is still tried once.
    world.clock.advance(WEEK + Seconds(1));
    world.service.behave(Behaviour::Status(410));
    world.settle().await;
    let delivery = delivery_of(&world, &id).await;
    assert_eq!(
        (&delivery["state"], &delivery["attempts"], &delivery["last_status"]),
        (&json!("refused"), &json!(1), &json!(410))
    );
    assert!(!delivery["ended_at"].is_null());
}

/// A service at an address that the policy forbids, one that refuses the connection, and one that hangs.
#[tokio::test]
async fn no_answer_is_tried_again() {
    // Taken, so that nobody else gets it, and not listened on.
    let taken = TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let refuses = format!("http://{}", taken.local_addr().unwrap());
    let hangs = FakeService::start().await;
    hangs.behave(Behaviour::Hang);
    let cases = [
        ("https://169.254.169.254".to_owned(), "its address is not allowed"),
        ("https://[fe80::1]".to_owned(), "its address is not allowed"),
        (refuses, "it cannot be reached"),
        (hangs.url.clone(), "no answer in time"),
    ];
    for (origin, reason) in cases {
        let world = World::with(Engine::Sqlite, |service| {
            declarations(service)
                .replace(&format!("revocation_uri = \"{service}"), &format!("revocation_uri = \"{origin}"))
        })
        .await;
        let id = one_owed(&world).await;
        world.settle().await;
        let delivery = delivery_of(&world, &id).await;
        assert_eq!((&delivery["state"], &delivery["attempts"]), (&json!("queued"), &json!(1)), "{origin}");
        assert_eq!((&delivery["last_status"], &delivery["last_error"]), (&Value::Null, &json!(reason)), "{origin}");
        assert_eq!(attempts(&world).await[0]["error"], reason);
        assert!(due(&world).await > world.clock.now());
    }
    assert_eq!(hangs.received().len(), 1);
}

both! {
    /// The endpoint is the one of the moment: what was owed before it was mended goes there as well, and whoever looks sees that.
    async fn a_mended_endpoint_is_told_what_was_owed_before(world: World) {
        let id = one_owed(&world).await;
        let old = world.service.clone();
        old.behave(Behaviour::Status(404));
        world.settle().await;
        let new = FakeService::start().await;
        let mended = format!("{}/agent/auth/revoked", new.url);
        let declared = declarations(&world.service.url).replace(&format!("{}/agent/auth/revoke", old.url), &mended);
        world.replica(&declared).await;
        assert_eq!(delivery_of(&world, &id).await["endpoint"], mended);
        let page = world.signed_in(ALICE).await.get("/connections").await;
        let said = format!("next try, at {}", authority(&Url::parse(&mended).unwrap()));
        assert!(page.body.contains(&said), "{said}: {}", page.body);
        new.behave(Behaviour::Status(503));
        for told in 1..=2 {
            let wait = due(&world).await - world.clock.now();
            world.clock.advance(wait);
            world.settle().await;
            assert_eq!((old.received().len(), new.received().len()), (1, told));
            new.behave(Behaviour::Status(200));
        }
        let delivery = delivery_of(&world, &id).await;
        assert_eq!((&delivery["state"], &delivery["endpoint"]), (&json!("delivered"), &json!(mended)));
        let went: Vec<Value> = attempts(&world).await.into_iter().map(|attempt| attempt["endpoint"].clone()).collect();
        assert_eq!(went, [json!(format!("{}/agent/auth/revoke", old.url)), json!(mended), json!(mended)]);
        let host = authority(&Url::parse(&mended).unwrap());
        assert_eq!(world.database.column("SELECT host FROM delivery").await, [host], "it is one of that host's from now on");
    }
}

both! {
    /// A clock that was an hour ahead put off a notice and leased another; neither waits until then.
    async fn what_a_wrong_clock_put_off_is_due(world: World) {
        let id = one_owed(&world).await;
        world.clock.advance(Seconds(3600));
        world.service.behave(Behaviour::Status(503));
        world.settle().await;
        let leased = owe(&world, "https://127.0.0.1:9/revoke", 1).await;
        assert_eq!(notify::claim(&world.host, "stopped", 9, &mut Cursor::default(), &[]).await.unwrap().len(), 1);
        world.clock.advance(Seconds(-3600));
        world.service.behave(Behaviour::Status(200));
        world.settle().await;
        let told = format!("SELECT state FROM delivery WHERE delegation_id = '{id}' AND sub <> 'user-0'");
        assert_eq!(world.database.column(&told).await, ["delivered"]);
        let tried = format!("SELECT COUNT(*) FROM delivery WHERE id = '{}' AND lease IS NULL AND attempts = 2", leased[0]);
        assert_eq!(world.database.column(&tried).await, ["1"]);
    }
}

/// Many more hosts that hang than there are places, and they come first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_hang_take_no_place_for_long() {
    const HANG: usize = 600;
    let world = World::start(Engine::Sqlite).await;
    world.delegated().await;
    let (hangs, other) = (FakeService::start_everywhere().await, FakeService::start_everywhere().await);
    hangs.behave(Behaviour::Hang);
    let of = |service: &FakeService, net: usize, n: usize| {
        let port = Url::parse(&service.url).unwrap().port().unwrap();
        format!("http://127.0.{}.{}:{port}/revoke", net + n / 250, 1 + n % 250)
    };
    owe_each(&world, &(0..HANG).map(|n| of(&hangs, 10, n)).collect::<Vec<_>>()).await;
    owe_each(&world, &(0..40).map(|n| of(&other, 20, n / 2)).collect::<Vec<_>>()).await;
    let worker = tokio::spawn(delivery::run(world.host.clone(), world.stop.subscribe()));
    let delivered = || world.database.column("SELECT COUNT(*) FROM delivery WHERE state = 'delivered'");
    eventually("all others are told", async || delivered().await == ["40"]).await;
    let over = world.database.column("SELECT COUNT(*) FROM delivery WHERE last_error IS NOT NULL").await;
    // With a place for each until its time is over, there would be four times as many as there are places.
    assert!(over[0].parse::<usize>().unwrap() < 450, "{over:?}");
    worker.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_hangs_holds_up_nobody_else() {
    let world = World::start(Engine::Sqlite).await;
    world.delegated().await;
    let other = FakeService::start().await;
    world.service.behave(Behaviour::Hang);
    owe(&world, &format!("{}/revoke", world.service.url), 50).await;
    let worker = tokio::spawn(delivery::run(world.host.clone(), world.stop.subscribe()));
    eventually("the first", async || !world.service.received().is_empty()).await;
    owe(&world, &format!("{}/revoke", other.url), 50).await;
    eventually("the other service's", async || other.received().len() == 50).await;
    assert_eq!(world.service.received().len(), 1, "a host has one notice at a time");
    let delivered = || world.database.column("SELECT COUNT(*) FROM delivery WHERE state = 'delivered'");
    eventually("their end", async || delivered().await == ["50"]).await;
    worker.abort();
}

/// Whoever hung has no place among the others until they answer.
#[tokio::test]
async fn a_host_that_hung_is_known_by_that() {
    let world = World::start(Engine::Sqlite).await;
    world.delegated().await;
    let lanes = Lanes::new();
    let claim = async |but: &[String]| notify::claim(&world.host, "one", 1, &mut Cursor::default(), but).await.unwrap();
    let tell = async || {
        let mut place = lanes.enter().unwrap();
        notify::tell(&world.host, &claim(&[]).await[0], "one", &mut place).await.unwrap();
    };
    world.service.behave(Behaviour::Hang);
    owe(&world, &format!("{}/revoke", world.service.url), 1).await;
    tell().await;
    let hung = lanes.hung();
    assert!(hung.len() == 1 && world.service.url.ends_with(&hung[0]), "{hung:?}");
    world.clock.advance(Seconds(60));
    assert!(claim(&hung).await.is_empty(), "it is due, and left alone");
    world.service.behave(Behaviour::Status(200));
    tell().await;
    assert_eq!(lanes.hung(), [] as [&str; 0]);
}

/// At most one notice at a time is under way to a host.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_has_one_notice_at_a_time() {
    let world = World::start(Engine::Sqlite).await;
    world.delegated().await;
    owe(&world, &format!("{}/a", world.service.url), 3).await;
    owe(&world, &format!("{}/b", world.service.url), 3).await;
    let claimed = notify::claim(&world.host, "one", 10, &mut Cursor::default(), &[]).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert!(notify::claim(&world.host, "two", 10, &mut Cursor::default(), &[]).await.unwrap().is_empty());
    world.database.column("UPDATE delivery SET due_at = due_at - 5 WHERE lease IS NULL RETURNING id").await;
    assert!(
        notify::claim(&world.host, "two", 10, &mut Cursor::default(), &[]).await.unwrap().is_empty(),
        "also when another is due for longer"
    );
    notify::tell(&world.host, &claimed[0], "one", &mut Place::anywhere()).await.unwrap();
    assert_eq!(world.service.received().len(), 6);
    owe(&world, &format!("{}/a", world.service.url), 1).await;
    assert_eq!(
        notify::claim(&world.host, "two", 10, &mut Cursor::default(), &[]).await.unwrap().len(),
        1,
        "the host is free again"
    );
}

both! {
    async fn a_lost_lease_is_taken_over(world: World) {
        let id = one_owed(&world).await;
        let lost = notify::claim(&world.host, "gone", 10, &mut Cursor::default(), &[]).await.unwrap();
        assert_eq!((lost.len(), lost[0][0].attempts), (1, 1));
        world.clock.advance(notify::LEASE - Seconds(1));
        assert!(notify::claim(&world.host, "next", 10, &mut Cursor::default(), &[]).await.unwrap().is_empty(), "leased");
        world.clock.advance(Seconds(1));
        let taken = notify::claim(&world.host, "next", 10, &mut Cursor::default(), &[]).await.unwrap();
        assert_eq!((taken.len(), taken[0][0].attempts), (1, 2), "the lost attempt is counted");
        // The first worker was only slow: its answer is in the journal, but it decides nothing any more.
        world.service.behave(Behaviour::Status(404));
        notify::tell(&world.host, &lost[0], "gone", &mut Place::anywhere()).await.unwrap();
        assert_eq!(delivery_of(&world, &id).await["last_status"], Value::Null);
        world.service.behave(Behaviour::Status(200));
        notify::tell(&world.host, &taken[0], "next", &mut Place::anywhere()).await.unwrap();
        assert_eq!(delivery_of(&world, &id).await["state"], "delivered");
        let held: Vec<Value> = attempts(&world).await.into_iter().map(|a| a["held"].clone()).collect();
        assert!(held.contains(&json!(false)) && held.contains(&json!(true)), "{held:?}");
        // And what is delivered stays so, whatever comes late.
        notify::tell(&world.host, &lost[0], "gone", &mut Place::anywhere()).await.unwrap();
        assert_eq!(delivery_of(&world, &id).await["state"], "delivered");
    }
}

#[tokio::test]
async fn leases_are_cleared_at_start_on_sqlite_only() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let world = World::start(engine).await;
        one_owed(&world).await;
        assert_eq!(notify::claim(&world.host, "killed", 10, &mut Cursor::default(), &[]).await.unwrap().len(), 1);
        let next = world.replica(&declarations(&world.service.url)).await;
        let found = notify::claim(&next.host, "next", 10, &mut Cursor::default(), &[]).await.unwrap().len();
        assert_eq!(found, usize::from(engine == Engine::Sqlite), "{engine:?}: elsewhere another process may hold it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_send_each_of_200_notices_once() {
    let world = World::start(Engine::Postgres).await;
    world.delegated().await;
    let replica = world.replica(&declarations(&world.service.url)).await;
    let mut services = Vec::new();
    for _ in 0..8 {
        services.push(FakeService::start().await);
    }
    for service in &services {
        owe(&world, &format!("{}/revoke", service.url), 25).await;
    }
    let work = |host: &Host, stop| tokio::spawn(delivery::run(host.clone(), stop));
    let workers = [work(&world.host, world.stop.subscribe()), work(&replica.host, replica.stop.subscribe())];
    let delivered = || world.database.column("SELECT COUNT(*) FROM delivery WHERE state = 'delivered'");
    eventually("all of them", async || delivered().await == ["200"]).await;
    world.stop.send_replace(true);
    replica.stop.send_replace(true);
    for worker in workers {
        worker.await.unwrap();
    }
    for service in &services {
        let subs: HashSet<String> = service.received().iter().map(|n| claims(n)["sub"].to_string()).collect();
        assert_eq!((service.received().len(), subs.len()), (25, 25), "each once");
    }
    let by = world.database.column("SELECT COUNT(*) FROM journal WHERE kind = 'delivery.attempt'").await;
    assert_eq!(by, ["200"]);
    assert_eq!(world.database.column("SELECT MAX(attempts) FROM delivery").await, ["1"]);
}

/// Many claims at once from two processes: no notice and no host twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_at_the_same_time_share_nothing() {
    let world = World::start(Engine::Postgres).await;
    world.delegated().await;
    let replica = world.replica(&declarations(&world.service.url)).await;
    for host in 0..40 {
        owe(&world, &format!("https://s{host}.example/revoke"), 3).await;
    }
    let start = Arc::new(tokio::sync::Barrier::new(8));
    let claims = (0..8).map(|n| {
        let (host, start) = (if n % 2 == 0 { world.host.clone() } else { replica.host.clone() }, start.clone());
        tokio::spawn(async move {
            start.wait().await;
            notify::claim(&host, &format!("w{n}"), 10, &mut Cursor::default(), &[]).await.unwrap()
        })
    });
    let mut hosts = HashSet::new();
    for claimed in claims.collect::<Vec<_>>() {
        let claimed = claimed.await.unwrap();
        assert!(claimed.len() <= 10, "no more than asked for");
        for notices in claimed {
            assert_eq!(notices.len(), 3, "all that wait for a host together");
            assert!(hosts.insert(notices[0].host.clone()), "{} twice", notices[0].host);
        }
    }
}

both! {
    async fn a_host_is_told_in_turn_until_it_says_no(world: World) {
        world.delegated().await;
        let endpoint = format!("{}/revoke", world.service.url);
        let mut ids = Vec::new();
        for _ in 0..20 {
            ids.extend(owe(&world, &endpoint, 1).await);
            world.clock.advance(Seconds(1));
        }
        let claimed = notify::claim(&world.host, "one", 10, &mut Cursor::default(), &[]).await.unwrap();
        let leased: Vec<String> = claimed[0].iter().map(|delivery| delivery.id.clone()).collect();
        assert_eq!((claimed.len(), &leased[..]), (1, &ids[..16]), "the oldest of the host, in their order");
        notify::tell(&world.host, &claimed[0], "one", &mut Place::anywhere()).await.unwrap();
        assert_eq!(world.service.received().len(), 16);

        world.service.behave(Behaviour::Status(503));
        let claimed = notify::claim(&world.host, "one", 10, &mut Cursor::default(), &[]).await.unwrap();
        assert_eq!(claimed[0].len(), 4);
        notify::tell(&world.host, &claimed[0], "one", &mut Place::anywhere()).await.unwrap();
        assert_eq!(world.service.received().len(), 17, "one attempt, and no more at a host that does not answer well");
        let left = "SELECT attempts FROM delivery WHERE state = 'queued' AND lease IS NULL ORDER BY attempts";
        assert_eq!(world.database.column(left).await, ["0", "0", "0", "1"], "the rest is given back, not counted");
    }
}

/// A slow disk holds up no host that answers, but what is not written down is made again after a crash: it is never much.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_attempts_are_made_ahead_of_what_is_written_down() {
    let world = World::start(Engine::Sqlite).await;
    let (_, _, delegation, _) = world.delegated().await;
    owe(&world, &format!("{}/revoke", world.service.url), 16).await;
    let claimed = notify::claim(&world.host, "one", 10, &mut Cursor::default(), &[]).await.unwrap();
    let held = world.hold(&delegation).await;
    let host = world.host.clone();
    let telling = tokio::spawn(async move { notify::tell(&host, &claimed[0], "one", &mut Place::anywhere()).await });
    // One that is being written down, four that wait for that, and one that waits to wait.
    eventually("it goes on", async || world.service.received().len() >= 6).await;
    for _ in 0..100 {
        world.api("GET", "/delegations", &world.admin_token()).await;
    }
    let ahead = world.service.received().len();
    assert!(ahead <= 9, "{ahead} of 16, where four may be written down at once");
    assert_eq!(attempts(&world).await.len(), 0);
    drop(held);
    telling.await.unwrap().unwrap();
    assert_eq!((world.service.received().len(), attempts(&world).await.len()), (16, 16));
    assert_eq!(world.database.column("SELECT DISTINCT state FROM delivery").await, ["delivered"]);
}

both! {
    async fn hosts_take_turns(world: World) {
        world.delegated().await;
        for host in ["c", "a", "b"] {
            owe(&world, &format!("https://{host}.example/revoke"), 20).await;
        }
        let mut cursor = Cursor::default();
        let mut hosts = async |n| -> Vec<String> {
            let claimed = notify::claim(&world.host, "one", n, &mut cursor, &[]).await.unwrap();
            claimed.iter().map(|notices| notices[0].host.clone()).collect()
        };
        assert_eq!(hosts(2).await, ["a.example", "b.example"]);
        // Their leases run out; whoever comes first by name does not come first again.
        world.clock.advance(notify::LEASE);
        assert_eq!(hosts(2).await, ["c.example", "a.example"], "on from where it was, and round");
        assert_eq!(hosts(2).await, ["b.example"], "the others are leased");
        assert!(hosts(2).await.is_empty());
    }
}

/// One worker serves all issuers, those also that were disabled meanwhile: what a user was promised is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_issuers_notices_are_sent() {
    let world = World::with(Engine::Sqlite, twins).await;
    let acme = world.under("acme").await;
    for issuer in [&world, &acme] {
        let (browser, _, id, _) = issuer.delegated().await;
        let page = browser.get(&format!("/connections/{id}/stop")).await;
        assert_eq!(browser.submit(&page, &format!("/connections/{id}/stop"), &[]).await.status, 303);
    }
    let change = issuers_admin::Change { disabled: Some(true), ..issuers_admin::Change::default() };
    issuers_admin::change(&world.host, "acme", &change).await.unwrap();
    world.settle().await;
    let mut issuers: Vec<String> =
        world.service.received().iter().map(|notice| claims(notice)["iss"].as_str().unwrap().to_owned()).collect();
    issuers.sort();
    assert_eq!(issuers, [world.issuer(), acme.issuer()]);
}

/// A stop lets what is under way end, starts nothing new, and leaves the rest in the outbox.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_leaves_the_rest_for_the_next_start() {
    let world = World::start(Engine::Sqlite).await;
    world.delegated().await;
    world.service.behave(Behaviour::Hang);
    owe(&world, &format!("{}/revoke", world.service.url), 3).await;
    let worker = tokio::spawn(delivery::run(world.host.clone(), world.stop.subscribe()));
    eventually("the first", async || world.service.received().len() == 1).await;
    world.stop.send_replace(true);
    tokio::time::timeout(Duration::from_secs(20), worker)
        .await
        .expect("it ends by the time-out of the attempt")
        .unwrap();
    assert_eq!(world.service.received().len(), 1);
    let attempts = world.database.column("SELECT attempts FROM delivery ORDER BY attempts").await;
    assert_eq!(attempts, ["0", "0", "1"]);
    assert_eq!(world.database.column("SELECT COUNT(*) FROM delivery WHERE lease IS NOT NULL").await, ["0"]);
    assert_eq!(world.clock.now(), NOW);
}
