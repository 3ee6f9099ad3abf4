//! Who has fetched which key.

use avouch::domain::time::Seconds;
use avouch::flow::fetches;
use serde_json::{Value, json};

use crate::harness::{World, both};
use crate::keys::{look, post};

/// Fetches what stands at a path, as an agent of that name.
async fn fetch(world: &World, path: &str, user_agent: &str, validator: Option<&str>) -> String {
    let mut request = world.http.get(format!("{}{path}", world.url)).header("user-agent", user_agent);
    if let Some(validator) = validator {
        request = request.header("if-none-match", validator);
    }
    let answer = request.send().await.unwrap();
    answer.headers()["etag"].to_str().unwrap().to_owned()
}

/// (fetchers that have it, fetchers) of each key, the newest first.
async fn seen_by(world: &World) -> Vec<(Value, Value)> {
    let list = world.api("GET", "/keys", &world.admin_token()).await.json();
    let items = list["items"].as_array().unwrap().iter();
    items.map(|item| (item["seen_by"]["fetchers"].clone(), item["seen_by"]["of"].clone())).collect()
}

both! {
    async fn who_has_seen_the_pending_key(world: World) {
        assert_eq!(seen_by(&world).await, [(json!(0), json!(0))]);
        for agent in ["jose/6", "python", "jose/6"] {
            fetch(&world, "/jwks.json", agent, None).await;
        }
        fetch(&world, "/agent-auth.json", "cimd-reader", None).await;
        fetches::write_down(&world.host).await.unwrap();
        assert_eq!(seen_by(&world).await, [(json!(2), json!(2))], "a document about us is no key");

        world.clock.advance(Seconds(1));
        post(&world, "prepare", &json!({})).await;
        look(&world).await;
        let etag = fetch(&world, "/.well-known/jwks.json", "python", None).await;
        fetch(&world, "/jwks.json", "go", Some(&etag)).await;
        fetches::write_down(&world.host).await.unwrap();
        assert_eq!(seen_by(&world).await, [(json!(2), json!(3)), (json!(3), json!(3))], "whoever is told 304 has it");

        let list = world.api("GET", "/keys/fetchers", &world.admin_token()).await.json();
        let items = list["items"].as_array().unwrap();
        let agents: Vec<&Value> = items.iter().map(|item| &item["user_agent"]).collect();
        assert_eq!(agents, ["cimd-reader", "go", "jose/6", "python"]);
        let of = |agent: &str| items.iter().find(|item| item["user_agent"] == agent).unwrap();
        assert_eq!((&of("jose/6")["fetches"], of("jose/6")["kids"].as_array().unwrap().len()), (&json!(2), 1));
        assert_eq!((&of("python")["fetches"], of("python")["kids"].as_array().unwrap().len()), (&json!(2), 2));
        assert_eq!((&of("cimd-reader")["client_document"], &of("cimd-reader")["kids"]), (&json!(true), &json!([])));
        assert_eq!(of("go")["services"], json!([world.service.url]), "its host has that address");

        // A week later nobody has fetched it lately, and a fortnight later nobody knows of it.
        world.clock.advance(Seconds(7 * 86_400 + 1));
        assert_eq!(seen_by(&world).await, [(json!(0), json!(0)), (json!(0), json!(0))]);
        world.clock.advance(Seconds(7 * 86_400));
        avouch::flow::sweep::run(&world.host).await.unwrap();
        assert_eq!(world.database.column("SELECT kid FROM key_fetch").await, [""; 0]);
    }
}

both! {
    async fn of_one_address_a_few_names_are_told_apart(world: World) {
        let (issuer, version) = ("default".into(), "1".into());
        for n in 0..20 {
            let agent = format!("agent {n}");
            let who = (std::net::IpAddr::from([10, 0, 0, 1]), agent.as_str());
            world.host.fetches.count((&issuer, &version), who, || ["a".into()].into(), world.clock.now());
            // Each time is as good as a server of its own.
            fetches::write_down(&world.host).await.unwrap();
        }
        let rows = world.database.column("SELECT user_agent || ' ' || count FROM key_fetch ORDER BY count DESC").await;
        assert_eq!((rows.len(), rows[0].as_str()), (9, "(others) 12"));
    }
}

both! {
    async fn a_crowd_is_not_counted_for_ever(world: World) {
        let (issuer, version) = ("default".into(), "1".into());
        let crowd = |from: u32, to: u32| {
            for n in from..to {
                let who = (std::net::IpAddr::from((10 << 24 | n).to_be_bytes()), "crowd");
                world.host.fetches.count((&issuer, &version), who, || ["a".into(), "b".into()].into(), world.clock.now());
            }
        };
        crowd(0, 1500);
        fetches::write_down(&world.host).await.unwrap();
        crowd(1000, 3000);
        fetches::write_down(&world.host).await.unwrap();
        let rows = world.database.column("SELECT CAST(COUNT(*) AS TEXT) FROM key_fetch").await;
        assert_eq!(rows, ["4000"]);
        let twice = world.database.column("SELECT CAST(COUNT(*) AS TEXT) FROM key_fetch WHERE count = 2").await;
        assert_eq!(twice, ["1000"], "whoever is known is still counted");
    }
}
