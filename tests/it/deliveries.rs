//! Notices as an operator looks at them: what came of each attempt, whatever a service answered, and another try.

use avouch::domain::time::Seconds;
use serde_json::{Value, json};

use crate::api::{problem, user_token};
use crate::delivery::one_owed;
use crate::harness::{BOB, Behaviour, World, both, run, text};

async fn whole(world: &World, id: &str) -> Value {
    let answer = world.api("GET", &format!("/deliveries/{id}"), &world.admin_token()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

async fn ids(world: &World, query: &str) -> Vec<String> {
    let answer = world.api("GET", &format!("/deliveries{query}"), &world.admin_token()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

both! {
    async fn what_came_of_it_is_kept_and_it_is_tried_again(world: World) {
        let delegation = one_owed(&world).await;
        let admin = world.admin_token();
        let id = ids(&world, "").await.remove(0);
        let retry = format!("/deliveries/{id}/retry");
        let hostile = b"<script>\x1b[2J\xe2\x80\xae\0\r\nno\xff".to_vec();
        let answers = [
            (Behaviour::Says(500, hostile), "<script>\\u{1b}[2J\\u{202e}\\u{0}\\r\\nno\u{fffd}".to_owned()),
            (Behaviour::Stream, "x".repeat(1024)),
            (Behaviour::Status(404), "{}".to_owned()),
        ];
        world.service.behave(answers[0].0.clone());
        world.settle().await;
        world.service.behave(answers[2].0.clone());
        world.settle().await;
        assert_eq!(world.api("POST", &retry, &admin).await.status, 202);
        world.settle().await;
        let told = whole(&world, &id).await;
        assert_eq!((&told["delegation_id"], &told["state"], &told["attempts"]), (&json!(delegation), &json!("queued"), &json!(2)));
        let tried = told["tried"].as_array().unwrap();
        assert_eq!(tried.len(), 2, "the clock stands, so only the retry let it be due: {told}");
        for (attempt, (status, answer)) in tried.iter().zip([(500, &answers[0].1), (404, &answers[2].1)]) {
            assert_eq!((&attempt["status"], &attempt["answer"]), (&json!(status), &json!(answer)));
            assert!(attempt["latency_ms"].as_i64().unwrap() >= 0 && attempt["held"] == true, "{attempt}");
        }

        // One that has ended begins anew.
        world.clock.advance(Seconds(7 * 86_400));
        world.settle().await;
        assert_eq!(ids(&world, "?state=refused").await, [id.as_str()]);
        assert!(ids(&world, "?state=queued").await.is_empty());
        let config = world.database.path("avouch.toml");
        let command = |args: &[&str]| {
            let mut all = vec!["delivery"];
            all.extend(args);
            all.extend(["--config", config.to_str().unwrap()]);
            let output = run(world.database.path("").as_path(), &all);
            (output.status.code(), text(&output.stdout) + &text(&output.stderr))
        };
        let (code, listed) = command(&["list", "--state", "refused"]);
        assert!(code == Some(0) && listed.contains(&id) && listed.contains("404"), "{listed}");
        let (code, shown) = command(&["show", &id]);
        assert!(code == Some(0) && shown.contains("<script>\\u{1b}[2J") && !shown.contains('\u{1b}'), "{shown}");
        let again = world.api("POST", &retry, &admin).await;
        assert_eq!((again.status, &again.json()["state"], &again.json()["attempts"]), (202, &json!("queued"), &json!(0)));
        world.settle().await;
        assert_eq!(whole(&world, &id).await["state"], "queued", "it has another week");
        world.service.behave(Behaviour::Stream);
        let (code, said) = command(&["retry", &id, "--json"]);
        assert!(code == Some(0) && said.contains("\"queued\""), "{said}");
        world.settle().await;
        let told = whole(&world, &id).await;
        assert_eq!(told["state"], "delivered", "a 2xx is one, whatever follows: {told}");
        assert_eq!(told["tried"].as_array().unwrap().last().unwrap()["answer"], json!(answers[1].1));
        problem(&world.api("POST", &retry, &admin).await, 409, "delivery_state", "delivered");
        assert_eq!(command(&["retry", &id]).0, Some(2));
        let retried = world.database.column("SELECT body FROM journal WHERE kind = 'delivery.retried' ORDER BY id").await;
        assert_eq!(retried.iter().filter(|body| body.contains("\"refused\"")).count(), 1, "{retried:?}");
        assert_eq!(retried.len(), 3);
    }
}

both! {
    async fn who_may_look_and_what_is_refused(world: World) {
        let (_, _, delegation, _) = world.delegated().await;
        let admin = world.admin_token();
        world.api("DELETE", &format!("/delegations/{delegation}"), &admin).await;
        let page = world.api("GET", "/deliveries?limit=1", &admin).await.json();
        let next = page["next"].as_str().unwrap();
        let mut all = ids(&world, "?limit=1").await;
        all.extend(ids(&world, &format!("?cursor={next}")).await);
        assert_eq!(all, ids(&world, "").await);
        let second = world.database.column("SELECT id FROM delivery WHERE round = 'second'").await.remove(0);
        problem(&world.api("POST", &format!("/deliveries/{second}/retry"), &admin).await, 409, "delivery_state", "too early");
        let user = user_token(&world, BOB, "openid delegations").await;
        for (method, path) in [("GET", ""), ("GET", "/x"), ("POST", "/x/retry")] {
            problem(&world.api(method, &format!("/deliveries{path}"), &user).await, 403, "forbidden", path);
        }
        for (method, path) in [("GET", "/x"), ("POST", "/x/retry"), ("GET", "/a%00b"), ("POST", "/a%00b/retry")] {
            problem(&world.api(method, &format!("/deliveries{path}"), &admin).await, 404, "not_found", path);
        }
        for query in ["?state=lost", "?aud=x", "?limit=0"] {
            problem(&world.api("GET", &format!("/deliveries{query}"), &admin).await, 400, "invalid_request", query);
        }
    }
}
