//! Users, clients and services that an administrator adds and changes: as good as those that the configuration declares, and by the same rules.

use avouch::domain::time::Seconds;
use avouch::secret::token_hash;
use serde_json::{Value, json};

use crate::administration::turn;
use crate::api::{problem, user_token};
use crate::bulk::count;
use crate::harness::{
    ALICE, BOB, CALLBACK, EXCHANGE, Engine, PASSWORD, SECRET, World, both, declarations, encode, run, text,
};

const CAROL: &str = "carol@example.com";

async fn add(world: &World, list: &str, body: &Value) -> (String, Value) {
    let answer = world.api_json("POST", list, &world.admin_token(), body).await;
    assert_eq!((answer.status, answer.header("cache-control")), (201, "no-store"), "{}", answer.body);
    let place = answer.header("location").strip_prefix(&format!("{}/api/v1", world.issuer())).unwrap().to_owned();
    (place, answer.json())
}

fn agent(service: &str) -> Value {
    json!({"client_id": "new-agent", "client_name": "New Agent", "client_secret_hash": token_hash(SECRET), "redirect_uris": [CALLBACK],
        "grant_types": ["authorization_code", "refresh_token", EXCHANGE], "audiences": [service, "https://added.example"]})
}

both! {
    /// On another server, after a start, and for as long as nobody withdraws it.
    async fn what_is_added_is_as_good_as_declared(world: World) {
        let ours = declarations(&world.service.url);
        let other = world.replica(&ours).await;
        let user = json!({"email": " Carol@Example.com", "name": "Carol", "email_verified": true, "password": PASSWORD});
        let (carol, item) = add(&world, "/users", &user).await;
        let said = (&item["email"], &item["status"], &item["declared"], &item["email_verified"]);
        assert_eq!(said, (&json!(CAROL), &json!("active"), &json!(false), &json!(true)), "{item}");
        assert!(!item.to_string().contains(PASSWORD) && !item.to_string().contains("argon2"), "{item}");
        let (client, item) = add(&world, "/clients", &agent(&world.service.url)).await;
        assert_eq!((&item["token_endpoint_auth_method"], item.get("client_secret")), (&json!("client_secret_basic"), None), "{item}");
        let told = json!({"audience": "https://added.example", "name": "Added", "scopes": ["api.read"],
            "notices": [{"format": "logout+jwt", "endpoint": format!("{}/agent/auth/revoke", world.service.url)}]});
        let (service, item) = add(&world, "/services", &told).await;
        assert_eq!((&item["source"], &item["notices"][0]["format"]), (&json!("added"), &json!("logout+jwt")), "{item}");
        let bodies = world.database.column("SELECT body FROM journal WHERE kind LIKE '%.added'").await;
        assert!(bodies.len() == 3 && bodies.iter().all(|body| !body.contains(PASSWORD) && !body.contains(&token_hash(SECRET))), "{bodies:?}");

        world.clock.advance(Seconds(2));
        let again = world.replica(&ours).await;
        world.clock.advance(Seconds(2));
        for server in [&other, &again] {
            let browser = server.signed_in(CAROL).await;
            let tokens = server.tokens(&browser, "new-agent").await;
            let at = [("audience", "https://added.example")];
            if count(&world, "consent").await == 0 {
                server.agree(&browser, "new-agent", &tokens, "always", &at).await;
            }
            assert_eq!(server.exchange("new-agent", &tokens, &at).await.0, 200);
            for place in [&carol, &client, &service] {
                assert_eq!(server.api("GET", place, &world.admin_token()).await.json()["status"], "active", "{place}");
            }
        }
        let gone = world.api("DELETE", &service, &world.admin_token()).await;
        assert_eq!((gone.status, &gone.json()["status"]), (200, &json!("disabled")));
        avouch::delivery::run_until_idle(&world.host).await;
        assert_eq!(count(&world, "delegation WHERE ended_at IS NULL").await, 0);
        assert!(!world.service.received().is_empty(), "the service is told");
        turn(&world, &service, false).await;

        // Declared, it is the configuration's, and goes with it.
        let more = format!("{ours}\n[[services]]\naudience = \"https://added.example\"\n[[users]]\nemail = \"{CAROL}\"\n\
            [[clients]]\nclient_id = \"new-agent\"\nredirect_uris = [\"{CALLBACK}\"]\n");
        let admin = world.admin_token();
        world.replica(&more).await;
        for place in [&carol, &client, &service] {
            assert_eq!(world.api("GET", place, &admin).await.json()["declared"], true, "{place}");
            let member = if place.starts_with("/clients") { "client_name" } else { "name" };
            let refused = world.api_json("PATCH", place, &admin, &json!({member: "Other"})).await;
            problem(&refused, 409, "declared", place);
        }
        world.replica(&ours).await;
        for place in [&carol, &client, &service] {
            let item = world.api("GET", place, &admin).await.json();
            assert_eq!((&item["status"], item["undeclared_at"].is_string()), (&json!("disabled"), true), "{item}");
        }
    }
}

both! {
    async fn what_was_added_is_changed(world: World) {
        let admin = world.admin_token();
        let change = async |place: &str, body: Value| {
            let answer = world.api_json("PATCH", place, &admin, &body).await;
            assert_eq!(answer.status, 200, "{place} {body} {}", answer.body);
            answer.json()
        };
        let (carol, _) = add(&world, "/users", &json!({"email": CAROL, "name": "Carol", "password": PASSWORD})).await;
        let browser = world.signed_in(CAROL).await;
        let item = change(&carol, json!({"name": null, "phone_number": "+15550199", "phone_number_verified": true})).await;
        assert_eq!((&item["name"], &item["phone_number"], &item["phone_number_verified"]), (&json!(null), &json!("+15550199"), &json!(true)));
        assert_eq!(browser.get("/connections").await.status, 200, "that signs nobody out");
        change(&carol, json!({"password": "another one altogether"})).await;
        assert_eq!(browser.get("/connections").await.status, 303, "another password does");

        // A secret that is made here is said once, and ends the one before.
        let body = json!({"client_id": "new-agent", "token_endpoint_auth_method": "client_secret_post", "redirect_uris": [CALLBACK]});
        let (client, item) = add(&world, "/clients", &body).await;
        let first = item["client_secret"].as_str().unwrap().to_owned();
        assert!(!world.api("GET", &client, &admin).await.body.contains(&first));
        let both = json!({"new_secret": true, "client_secret_hash": "a".repeat(43)});
        let both = world.api_json("PATCH", &client, &admin, &both).await;
        assert!(both.status == 422 && both.body.contains("not both"), "{}", both.body);
        let twice = world.http.post(format!("{}/api/v1/clients", world.url)).bearer_auth(&admin).header("content-type", "application/json");
        let twice = crate::harness::Answer::read(twice.body(r#"{"client_id": "a", "client_id": "b"}"#).send().await.unwrap()).await;
        assert!(twice.status == 400 && twice.body.contains("duplicate field"), "{}", twice.body);
        let second = change(&client, json!({"new_secret": true, "client_name": "New"})).await;
        assert_eq!(second["client_name"], "New");
        let second = second["client_secret"].as_str().unwrap().to_owned();
        let ask = async |secret: &str| {
            let form = [("client_id", "new-agent"), ("client_secret", secret), ("grant_type", "authorization_code"), ("code", "x"), ("redirect_uri", CALLBACK)];
            let request = world.http.post(format!("{}/token", world.url)).header("content-type", "application/x-www-form-urlencoded").body(encode(&form));
            crate::harness::Answer::read(request.send().await.unwrap()).await.json()["error"].clone()
        };
        assert_eq!((ask(&first).await, ask(&second).await), (json!("invalid_client"), json!("invalid_grant")));
        let public = change(&client, json!({"token_endpoint_auth_method": "none"})).await;
        assert_eq!((&public["token_endpoint_auth_method"], public.get("client_secret")), (&json!("none"), None));
        assert_eq!(world.database.column("SELECT COALESCE(secret_hash, '-') FROM client WHERE client_id = 'new-agent'").await, ["-"]);

        let (service, _) = add(&world, "/services", &json!({"audience": "https://added.example", "name": "Added", "max_auth_age": 60})).await;
        let item = change(&service, json!({"name": null, "scopes": ["a"], "claims": ["email"]})).await;
        assert_eq!((&item["name"], &item["scopes"], &item["claims"]), (&json!(null), &json!(["a"]), &json!(["email"])));
        let both = change(&service, json!({"scopes": [], "disabled": true})).await;
        assert_eq!((&both["status"], &both["scopes"]), (&json!("disabled"), &json!([])), "at once");
        let edits = world.database.column("SELECT kind FROM journal WHERE kind LIKE '%.edited'").await;
        assert_eq!(edits.len(), 6, "{edits:?}");

        // A wrong member changes nothing of the others.
        problem(&world.api_json("PATCH", &client, &admin, &json!({"client_name": "X", "redirect_uris": []})).await, 422, "invalid_member", &client);
        problem(&world.api_json("PATCH", &carol, &admin, &json!({"name": "X", "phone_number": null})).await, 422, "invalid_member", &carol);
        assert_eq!(world.api("GET", &client, &admin).await.json()["client_name"], "New");
    }
}

both! {
    async fn what_cannot_be_added(world: World) {
        let admin = world.admin_token();
        let counted = async || [count(&world, "account").await, count(&world, "client").await, count(&world, "service").await];
        let before = counted().await;
        let client = |more: Value| {
            let mut body = json!({"client_id": "n", "redirect_uris": [CALLBACK]});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body
        };
        let service = |more: Value| {
            let mut body = json!({"audience": "https://n.example"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body
        };
        for (list, body, status, code) in [
            ("/users", json!({}), 422, "invalid_member"),
            ("/users", json!({"email": "a"}), 422, "invalid_member"),
            ("/users", json!({"email": ALICE.to_uppercase()}), 409, "exists"),
            ("/users", json!({"email": CAROL, "pasword": "hunter2"}), 400, "invalid_request"),
            ("/users", json!({"email": CAROL, "password": "hunter2", "password_hash": "hunter2"}), 422, "invalid_member"),
            ("/users", json!({"email": CAROL, "password_hash": "hunter2"}), 422, "invalid_member"),
            ("/users", json!({"email": CAROL, "password": ["hunter2"]}), 422, "invalid_member"),
            ("/users", json!({"email": CAROL, "password": "hunter2\n"}), 422, "invalid_member"),
            ("/users", json!({"email": CAROL, "password": "hunter2".repeat(200)}), 422, "invalid_member"),
            ("/users", json!({"email": CAROL, "phone_number": "1"}), 422, "invalid_member"),
            ("/users", json!([]), 400, "invalid_request"),
            ("/clients", json!({}), 422, "invalid_member"),
            ("/clients", client(json!({"client_id": "desk-agent"})), 409, "exists"),
            ("/clients", client(json!({"client_id": "https://n.example"})), 422, "invalid_member"),
            ("/clients", client(json!({"client_secret": "hunter2"})), 400, "invalid_request"),
            ("/clients", client(json!({"client_secret_hash": "hunter2"})), 422, "invalid_member"),
            ("/clients", client(json!({"grant_types": [EXCHANGE]})), 422, "invalid_member"),
            ("/clients", client(json!({"redirect_uris": ["http://n.example/"]})), 422, "invalid_member"),
            ("/clients", client(json!({"audiences": [world.issuer()]})), 422, "invalid_member"),
            ("/clients", client(json!({"first_party": true})), 422, "invalid_member"),
            ("/clients", client(json!({"token_endpoint_auth_method": "private_key_jwt"})), 422, "invalid_member"),
            ("/services", json!({}), 422, "invalid_member"),
            ("/services", service(json!({"audience": world.service.url})), 409, "exists"),
            ("/services", service(json!({"audience": world.issuer()})), 422, "invalid_member"),
            ("/services", service(json!({"takes_id_jag": false})), 400, "invalid_request"),
            ("/services", service(json!({"claims": ["acr"]})), 422, "invalid_member"),
            ("/services", service(json!({"notices": [{"format": "logout+jwt", "endpoint": "http://n.example/"}]})), 422, "invalid_member"),
        ] {
            let answer = world.api_json("POST", list, &admin, &body).await;
            problem(&answer, status, code, &format!("{list} {body}"));
            assert!(!answer.body.contains("hunter2"), "{}", answer.body);
        }
        let token = user_token(&world, BOB, "openid delegations").await;
        for list in ["/users", "/clients", "/services"] {
            problem(&world.api_json("POST", list, &token, &json!({})).await, 403, "forbidden", list);
            assert_eq!(world.api_json("POST", list, "made-up", &json!({})).await.status, 401);
        }
        assert_eq!(counted().await, before, "nothing is half done");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_command_line() {
    let world = World::start(Engine::Sqlite).await;
    let config = world.database.path("avouch.toml");
    let at = |args: &[&str]| {
        let all: Vec<&str> = args.iter().copied().chain(["--json", "--config", config.to_str().unwrap()]).collect();
        let done = run(world.database.path("").as_path(), &all);
        (done.status.code(), text(&done.stdout), text(&done.stderr))
    };
    let hash =
        world.database.column(&format!("SELECT password_hash FROM account WHERE email = '{ALICE}'")).await.remove(0);
    let user = ["user", "add", CAROL, "--name", "Carol", "--email-verified", "--password-hash", &hash];
    let service =
        ["service", "add", "https://added.example", "--notice", "secevent+jwt=https://added.example/e", "--scope", "a"];
    let client =
        ["client", "add", "new-agent", "--secret", "--redirect-uri", CALLBACK, "--audience", "*", "--first-party"];
    for (args, member, value) in [
        (&user[..], "email", json!(CAROL)),
        (&client[..], "audiences", json!(["*"])),
        (&service[..], "source", json!("added")),
    ] {
        let (code, said, why) = at(args);
        assert_eq!(code, Some(0), "{why}");
        let item: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&item[member], &item["status"]), (&value, &json!("active")), "{item}");
        assert_eq!(item["client_secret"].is_string(), args[0] == "client");
        let (code, _, why) = at(args);
        assert!(code == Some(2) && why.contains("already"), "{why}");
    }
    world.clock.advance(Seconds(2));
    world.signed_in(CAROL).await;
    let (code, said, why) = at(&["service", "add", "https://b.example", "--notice", "pigeon"]);
    assert!(code == Some(2) && said.is_empty() && why.contains("FORMAT=URL"), "{why}");
}
