//! Users, clients and services that an administrator lists, disables and enables.

use avouch::delivery;
use avouch::domain::time::Seconds;
use serde_json::{Value, json};

use crate::api::{problem, user_token};
use crate::harness::{ALICE, BOB, Engine, World, both, declarations, run, text};

const KINDS: [&str; 3] = ["account", "client", "service"];

/// Where alice, her agent and its service are.
pub(crate) async fn places(world: &World) -> [String; 3] {
    let one = async |sql: &str| world.database.column(sql).await.remove(0);
    let sub = one("SELECT sub FROM account WHERE email = 'alice@example.com'").await;
    let service = one(&format!("SELECT id FROM service WHERE audience = '{}'", world.service.url)).await;
    [format!("/users/{sub}"), "/clients/desk-agent".to_owned(), format!("/services/{service}")]
}

pub(crate) async fn turn(world: &World, place: &str, disabled: bool) -> Value {
    let answer = world.api_json("PATCH", place, &world.admin_token(), &json!({"disabled": disabled})).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"), "{}", answer.body);
    answer.json()
}

async fn told(world: &World, kind: &str) -> usize {
    world.database.column(&format!("SELECT id FROM journal WHERE kind = '{kind}'")).await.len()
}

/// Replicas look at a client again after two seconds.
async fn declared_again(world: &World, declared: &str) -> World {
    let replica = world.replica(declared).await;
    world.clock.advance(Seconds(2));
    replica
}

both! {
    async fn what_stands_under_one_that_is_disabled_is_withdrawn(world: World) {
        let ours = declarations(&world.service.url);
        let admin = world.admin_token();
        for (place, kind) in places(&world).await.iter().zip(KINDS) {
            let (browser, tokens, id, _) = world.delegated().await;
            let before = world.api("GET", place, &admin).await.json();
            assert_eq!(before["status"], "active", "{before}");
            assert_eq!(turn(&world, place, true).await["status"], "disabled");
            let minted = world.exchange("desk-agent", &tokens, &[]).await;
            assert_ne!(minted.0, 200, "{kind}: nothing is minted from then on");
            let record = async || world.api("GET", &format!("/delegations/{id}"), &admin).await.json();
            assert_eq!(record().await["status"], "active", "nobody waits for the withdrawal");
            delivery::run_until_idle(&world.host).await;
            assert_eq!(record().await["status"], "withdrawing", "{kind}");
            assert!(!world.service.received().is_empty());
            world.service.notices.lock().unwrap().clear();
            assert_eq!(turn(&world, place, true).await["status"], "disabled");
            assert_eq!(told(&world, &format!("{kind}.disabled")).await, 1, "pressed twice");
            if kind == "account" {
                assert_eq!(browser.get("/connections").await.status, 303, "signed out");
            }

            // It holds whatever the configuration declares, and nothing of before comes back.
            let again = declared_again(&world, &ours).await;
            let still = again.api("GET", place, &admin).await.json();
            assert_eq!(still["status"], "disabled", "{still}");
            assert_eq!(turn(&world, place, false).await["status"], "active");
            assert_eq!(turn(&world, place, false).await["status"], "active");
            assert_eq!(told(&world, &format!("{kind}.enabled")).await, 1);
            world.clock.advance(Seconds(2));
            let browser = world.signed_in(ALICE).await;
            let tokens = world.tokens(&browser, "desk-agent").await;
            assert_eq!(world.exchange("desk-agent", &tokens, &[]).await.1["error"], "consent_required", "{kind}");
        }
        let why = world.database.column("SELECT body FROM journal WHERE kind = 'withdrawal'").await;
        assert_eq!(why.len(), 3, "{why:?}");
    }
}

both! {
    /// Enabled again before anybody has withdrawn what stood.
    async fn what_is_enabled_at_once_begins_anew(world: World) {
        for place in places(&world).await {
            let (_, _, id, _) = world.delegated().await;
            turn(&world, &place, true).await;
            turn(&world, &place, false).await;
            delivery::run_until_idle(&world.host).await;
            let record = world.api("GET", &format!("/delegations/{id}"), &world.admin_token()).await.json();
            assert_eq!(record["status"], "withdrawing", "{place}");
            assert_eq!(world.api("GET", &place, &world.admin_token()).await.json()["status"], "active");
            assert_eq!(world.database.column("SELECT name FROM removed").await.len(), 0);
            world.clock.advance(Seconds(2));
        }
    }
}

both! {
    /// An administrator's word and the configuration's are each taken back by themselves alone, in whatever order they were said: it lives
    /// where neither speaks against it.
    async fn whose_word_it_is(world: World) {
        let ours = declarations(&world.service.url);
        let admin = world.admin_token();
        let less = [
            ours.replace(ALICE, "other@example.com"),
            ours.replace("client_id = \"desk-agent\"", "client_id = \"desk-two\""),
            ours.replace(&format!("audience = \"{}\"", world.service.url), "audience = \"https://moved.example\""),
        ];
        for ((place, kind), less) in places(&world).await.iter().zip(KINDS).zip(&less) {
            let list = &place[..place.rfind('/').unwrap()];
            let stands = async |status: &str, (stopped, undeclared): (bool, bool)| {
                let item = world.api("GET", place, &admin).await.json();
                let all = world.api("GET", list, &admin).await.json();
                let members = ["status", "declared", "disabled_at", "undeclared_at"];
                let listed = all["items"].as_array().unwrap().iter().find(|one| members.iter().all(|name| one[name] == item[name]));
                assert!(listed.is_some(), "{kind} {item} {all}");
                let said = (item["status"].as_str(), item["declared"] == true, item["disabled_at"].is_string(), item["undeclared_at"].is_string());
                assert_eq!(said, (Some(status), !undeclared, stopped, undeclared), "{kind} {item}");
            };
            for (first, back) in [("admin", "admin"), ("config", "admin"), ("admin", "config"), ("config", "config")] {
                for who in [first, if first == "admin" { "config" } else { "admin" }] {
                    if who == "admin" {
                        turn(&world, place, true).await;
                    } else {
                        declared_again(&world, less).await;
                    }
                }
                stands("disabled", (true, true)).await;
                if back == "admin" {
                    turn(&world, place, false).await;
                    stands("disabled", (false, true)).await;
                    let refused = world.api_json("PATCH", place, &admin, &json!({"disabled": false})).await;
                    problem(&refused, 409, "not_declared", place);
                    declared_again(&world, &ours).await;
                } else {
                    declared_again(&world, &ours).await;
                    stands("disabled", (true, false)).await;
                    turn(&world, place, false).await;
                }
                stands("active", (false, false)).await;
            }
        }
    }
}

both! {
    async fn lists_and_records(world: World) {
        let admin = world.admin_token();
        let [user, client, service] = places(&world).await;
        let found = world.api("GET", &user, &admin).await.json();
        let sub = found["sub"].as_str().unwrap();
        let expected = json!({"sub": sub, "email": ALICE, "email_verified": true, "name": found["name"], "phone_number": found["phone_number"],
            "phone_number_verified": found["phone_number_verified"], "status": "active", "declared": true,
            "created_at": found["created_at"], "disabled_at": null, "undeclared_at": null});
        assert_eq!(found, expected);
        let items = world.api("GET", &format!("/users?email={}", ALICE.to_uppercase()), &admin).await.json();
        assert_eq!(items, json!({"items": [found], "next": null}));
        assert_eq!(world.api("GET", "/users?email=nobody@example.com", &admin).await.json()["items"], json!([]));
        let agent = world.api("GET", &client, &admin).await.json();
        assert_eq!((&agent["client_id"], &agent["client_name"]), (&json!("desk-agent"), &json!("Desk Agent")), "{agent}");
        assert!(!agent.to_string().contains("secret_hash") && !agent.to_string().contains("jwks"), "{agent}");
        for (list, name) in [("/users", "sub"), ("/clients", "client_id")] {
            let all = world.api("GET", list, &admin).await.json();
            let all: Vec<&Value> = all["items"].as_array().unwrap().iter().map(|item| &item[name]).collect();
            let (mut seen, mut next) = (Vec::new(), String::new());
            loop {
                let page = world.api("GET", &format!("{list}?limit=1{next}"), &admin).await.json();
                seen.push(page["items"][0][name].clone());
                let Some(cursor) = page["next"].as_str() else { break };
                next = format!("&cursor={cursor}");
            }
            assert!(seen.len() > 1 && seen.iter().collect::<Vec<_>>() == all, "{list}");
        }

        // For administrators alone, and nothing is half done.
        let token = user_token(&world, BOB, "openid delegations").await;
        for place in [&user, &client, &service] {
            for method in ["GET", "PATCH", "DELETE"] {
                problem(&world.api(method, place, &token).await, 403, "forbidden", place);
                assert_eq!(world.api(method, place, "made-up").await.status, 401);
            }
            for (body, status) in [(json!({"disabled": "yes"}), 400), (json!({"enabled": true}), 400), (json!([]), 400), (json!([true]), 400), (json!({}), 200)] {
                let answer = world.api_json("PATCH", place, &admin, &body).await;
                assert_eq!(answer.status, status, "{place} {}", answer.body);
            }
            assert_eq!(world.api("PATCH", place, &admin).await.status, 415, "no JSON");
            assert_eq!(world.api("GET", place, &admin).await.json()["status"], "active");
        }
        for place in ["/users/nobody", "/users/a%00b", "/clients/nobody", "/clients/a%00b", "/services/nobody"] {
            for method in ["GET", "DELETE"] {
                problem(&world.api(method, place, &admin).await, 404, "not_found", place);
            }
        }
        for query in ["?x=1", "?limit=0", "?limit=201"] {
            for list in ["/users", "/clients"] {
                problem(&world.api("GET", &format!("{list}{query}"), &admin).await, 400, "invalid_request", query);
            }
        }
        for place in [&user, &client, &service] {
            let gone = world.api("DELETE", place, &admin).await;
            assert_eq!((gone.status, &gone.json()["status"]), (200, &json!("disabled")), "{}", gone.body);
        }
    }
}

both! {
    /// Nobody declared it: it is not asked again, nor forgotten, as long as it is disabled.
    async fn a_service_that_speaks_for_itself_is_disabled_too(world: World) {
        let ours = declarations(&world.service.url).replacen("audiences = [", "audiences = [\"https://s.example\", ", 1);
        let world = world.replica(&ours).await;
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        let ask = async || world.exchange("desk-agent", &tokens, &[("audience", "https://s.example"), ("scope", "")]).await.1;
        assert_eq!(ask().await["error"], "consent_required");
        let id = world.database.column("SELECT id FROM service WHERE audience = 'https://s.example'").await.remove(0);
        turn(&world, &format!("/services/{id}"), true).await;
        assert_eq!(ask().await["error"], "invalid_target");
        let mut tx = world.app.store.begin().await.unwrap();
        tx.forget_service("https://s.example").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(ask().await["error"], "invalid_target");
        turn(&world, &format!("/services/{id}"), false).await;
        assert_eq!(ask().await["error"], "invalid_target", "the question of before is still open");
        delivery::run_until_idle(&world.host).await;
        assert_eq!(ask().await["error"], "consent_required");
    }
}

/// The same operations on the command line, beside the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_command_line() {
    let world = World::start(Engine::Sqlite).await;
    let config = world.database.path("avouch.toml");
    let at = |args: &[&str]| {
        let all: Vec<&str> = args.iter().copied().chain(["--config", config.to_str().unwrap()]).collect();
        run(world.database.path("").as_path(), &all)
    };
    for (family, name) in [("user", ALICE), ("client", "desk-agent"), ("service", world.service.url.as_str())] {
        let list = at(&[family, "list", "--json"]);
        let list: Value = serde_json::from_slice(&list.stdout).unwrap();
        assert!(list["items"].as_array().unwrap().len() == 1 || family != "service", "{list}");
        assert!(text(&at(&[family, "list"]).stdout).contains(name));
        let disabled = at(&[family, "disable", name]);
        assert_eq!(disabled.status.code(), Some(0), "{}", text(&disabled.stderr));
        assert!(text(&disabled.stdout).contains("disabled"), "{}", text(&disabled.stdout));
        let shown: Value = serde_json::from_slice(&at(&[family, "show", name, "--json"]).stdout).unwrap();
        assert_eq!(shown["status"], "disabled", "{shown}");
        let stays = at(&["check-config"]);
        assert!(!text(&stays.stdout).contains(name), "a start would leave it so: {}", text(&stays.stdout));
        assert!(text(&at(&[family, "enable", name]).stdout).contains(name));
        let shown: Value = serde_json::from_slice(&at(&[family, "show", name, "--json"]).stdout).unwrap();
        assert_eq!(shown["status"], "active", "{shown}");
    }
    for (family, name) in [("user", "nobody@example.com"), ("client", "nobody"), ("service", "https://nobody.example")]
    {
        let none = at(&[family, "disable", name]);
        assert_eq!(none.status.code(), Some(2));
        assert!(text(&none.stderr).contains(&format!("{name}: there is no such {family}")), "{}", text(&none.stderr));
    }
}
