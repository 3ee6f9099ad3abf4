//! `/metrics`, as Prometheus reads it: from a process of its own, since a process counts once for all.

use avouch::domain::notice::Format;
use avouch::domain::time::Seconds;
use avouch::flow::measure;

use crate::harness::{ALICE, Answer, Behaviour, Engine, NOW, World, both, client, declarations, eventually};
use crate::process::{leave, serve, withdraw};

both! {
    async fn what_is_on_its_way_is_measured(world: World) {
        let (_, _, id, _) = world.delegated().await;
        let measured = async || {
            let mut tx = world.host.database.read().await.unwrap();
            (tx.queued_notices(Format::LogoutJwt).await.unwrap(), tx.oldest_notice(Format::LogoutJwt, world.clock.now()).await.unwrap())
        };
        assert_eq!(measured().await, (0, None));
        world.service.behave(Behaviour::Status(500));
        world.clock.advance(Seconds(1));
        world.api("DELETE", &format!("/delegations/{id}"), &world.admin_token()).await;
        assert_eq!(measured().await, (2, Some(NOW + Seconds(1))), "the second one waits for its time");
        world.settle().await;
        world.clock.advance(Seconds(1));
        assert_eq!(measured().await, (2, Some(NOW + Seconds(1))), "tried, and not taken");
        let since = world.host.database.read().await.unwrap().oldest_active_key().await.unwrap();
        assert_eq!(since, Some(NOW));
        measure::run(&world.host).await.unwrap();
        let said = avouch::meters::render();
        for line in [
            "avouch_mints_total ",
            "avouch_sign_ins_total{outcome=\"succeeded\"} ",
            "avouch_consents_total{answer=\"always\"} ",
            "avouch_commit_batch_size_count ",
            "avouch_commit_seconds_count ",
        ] {
            assert!(said.contains(line), "{line}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_is_counted_and_nothing_of_it_names_anybody() {
    let world = World::with(Engine::Sqlite, |service| {
        declarations(service) + "\n[[issuers]]\nid = \"acme\"\nname = \"Acme\"\n"
    })
    .await;
    let (folder, id) = leave(&world).await;
    world.service.behave(Behaviour::Status(500));
    let server = serve(&folder).await;
    let get =
        async |path: &str| Answer::read(client().get(format!("{}{path}", server.url)).send().await.unwrap()).await;
    for path in ["/connections", "/nothing/here?secret=1", "/consent/a-ticket", "/acme/jwks.json", "/token"] {
        get(path).await;
    }
    assert_eq!(get("/acme/metrics").await.status, 404, "the root's only");
    assert_eq!(withdraw(&server, &world.admin_token(), &id).await.unwrap(), 202);
    eventually("what the worker measures", async || {
        let answer = get("/metrics").await;
        answer.body.contains("avouch_notices_queued{format=\"logout+jwt\"} 1")
            || answer.body.contains("avouch_notices_queued{format=\"logout+jwt\"} 2")
    })
    .await;
    let answer = get("/metrics").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        "avouch_refusals_total{reason=\"NotFound\"} ",
        "avouch_refusals_total{reason=\"MethodNotAllowed\"} 1",
        "avouch_notice_attempts_total{format=\"logout+jwt\",state=\"queued\"} ",
        "avouch_oldest_signing_key_age_seconds ",
        "avouch_oldest_notice_age_seconds ",
        "avouch_request_seconds_count{route=\"/consent/{ticket}\",status=\"3xx\"} 1",
        "avouch_request_seconds_count{route=\"/jwks.json\",status=\"2xx\"} 1",
        "avouch_request_seconds_count{route=\"none\",status=\"4xx\"} ",
        "# TYPE avouch_request_seconds histogram",
    ] {
        assert!(answer.body.contains(line), "{line}: {}", answer.body);
    }
    for hidden in ["nothing", "secret", "a-ticket", "acme", "desk-agent", ALICE, &world.service.url, &id] {
        assert!(!answer.body.contains(hidden), "{hidden}: {}", answer.body);
    }
}
