//! The log as an operator reads it: what has a line, and what stands in it.

use serde_json::Value;
use tempfile::TempDir;
use tracing::level_filters::LevelFilter;

use crate::harness::{ALICE, Answer, Engine, Log, PASSWORD, SECRET, Serving, World, client};

/// Of a known client, what its server refuses.
async fn refused(server: &Serving) -> Answer {
    let request = client().post(format!("{}/token", server.url)).basic_auth("desk-agent", Some(SECRET));
    let request = request.header("content-type", "application/x-www-form-urlencoded").body("grant_type=password");
    let answer = Answer::read(request.send().await.unwrap()).await;
    assert_eq!((answer.status, &answer.json()["error"]), (400, &"unsupported_grant_type".into()));
    answer
}

/// A server, and the lines of its log that name a request.
async fn logging(log: &str, ask: impl AsyncFnOnce(&Serving) -> Answer) -> Vec<String> {
    let folder = TempDir::new().unwrap();
    let text = format!(
        "{log}\n[[clients]]\nclient_id = 'desk-agent'\nclient_name = 'Desk Agent'\nclient_secret = '{SECRET}'\nredirect_uris = ['http://127.0.0.1/']\n"
    );
    std::fs::write(folder.path().join("avouch.toml"), text).unwrap();
    let mut server = Serving::start(folder.path(), &["serve", "--port", "0"]);
    let answer = ask(&server).await;
    server.signal("TERM");
    assert_eq!(server.ended().await, Some(0));
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    log.lines().filter(|line| line.contains(answer.header("x-request-id"))).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_line_of_a_request_names_it_and_who_it_was() {
    let lines = logging("", refused).await;
    let [line] = &lines[..] else { panic!("one line: {lines:?}") };
    for field in ["refused", "GrantTypeUnsupported", "POST", "/token", "127.0.0.1", "default", "desk-agent"] {
        assert!(line.contains(field), "{field}: {line}");
    }
    let lines = logging("", async |server| {
        let url = format!("{}/acme/{}", server.url, "x".repeat(1000));
        Answer::read(client().get(url).send().await.unwrap()).await
    });
    let [line] = &lines.await[..] else { panic!("one line") };
    assert!(line.contains("NotFound") && line.contains("/acme/xxx") && !line.contains("desk-agent"), "{line}");
    assert!(line.len() < 600, "{line}");
}

#[tokio::test]
async fn as_json_and_at_other_levels() {
    let lines = logging("[log]\nformat = 'json'\nlevel = 'debug'", refused).await;
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let messages: Vec<&str> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["refused", "answered"]);
    for line in &lines {
        let request = &line["span"];
        let said = ["method", "path", "address", "issuer", "client"].map(|name| request[name].as_str().unwrap());
        assert_eq!(said, ["POST", "/token", "127.0.0.1", "default", "desk-agent"], "{line}");
        assert_eq!(line["status"], 400, "{line}");
    }
    assert_eq!(logging("[log]\nlevel = 'warn'", refused).await.len(), 0);
}

#[tokio::test]
async fn each_event_and_each_failed_sign_in_has_a_line() {
    let (log, guard) = Log::keep(LevelFilter::INFO);
    let world = World::start(Engine::Sqlite).await;
    let wrong = world.browser();
    for (email, times) in [(ALICE, 7), ("nobody@example.com", 1)] {
        for _ in 0..times {
            let page = wrong.get("/login").await;
            wrong.submit(&page, "/login", &[("email", email), ("password", "a wrong password")]).await;
        }
    }
    world.clock.advance(avouch::domain::time::Seconds(1000));
    let (_, _, id, _) = world.delegated().await;
    world.api("DELETE", &format!("/delegations/{id}"), &world.admin_token()).await;
    world.settle().await;
    drop(guard);
    let log = log.text();

    let rows = world.database.column("SELECT kind || ' ' || body FROM journal ORDER BY id").await;
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("avouch::store::journal")).collect();
    assert_eq!(lines.len(), rows.len(), "{log}");
    for row in rows {
        let (kind, body) = row.split_once(' ').unwrap();
        let line = lines.iter().find(|line| line.contains(&format!(" {kind} ")) && line.contains(body));
        let line = line.unwrap_or_else(|| panic!("no line for {row} in {log}"));
        let asked_for = !["account.password_changed", "delivery.attempt", "key.activated"].contains(&kind);
        assert_eq!(line.contains("request{id="), asked_for, "in the span of its request: {line}");
    }
    let minted = lines.iter().find(|line| line.contains(": assertion ")).unwrap();
    for field in
        ["client=\"desk-agent\"", "account=", "client_key=", "delegation=", "consent=", "jti=", "issuer=\"default\""]
    {
        assert!(minted.contains(field), "{field}: {minted}");
    }

    let failed: Vec<&str> = log.lines().filter(|line| line.contains("a sign-in failed")).collect();
    let account = world.database.column(&format!("SELECT id FROM account WHERE email = '{ALICE}'")).await.remove(0);
    assert_eq!(failed.iter().filter(|line| line.contains(&account) && line.contains(ALICE)).count(), 7, "{log}");
    assert_eq!(failed.iter().filter(|line| line.contains("too many attempts")).count(), 2, "{log}");
    assert_eq!(failed.iter().filter(|line| line.contains("account=\"unknown\"")).count(), 1, "{log}");
    assert!(failed.iter().all(|line| line.contains(" address=127.0.0.1 ")), "{log}");
    assert!(!log.contains("nobody@") && !log.contains(PASSWORD) && !log.contains("a wrong password"), "{log}");
    assert!(!log.contains("ConsentRequired"), "asking again and again is no news: {log}");
}

/// What was rolled back has not happened.
#[tokio::test]
async fn only_what_is_committed_has_a_line() {
    let (log, guard) = Log::keep(LevelFilter::INFO);
    let world = World::start(Engine::Sqlite).await;
    let (_, _, id, _) = world.delegated().await;
    world.database.column("ALTER TABLE delivery RENAME TO delivery_gone").await;
    let status = world.api("DELETE", &format!("/delegations/{id}"), &world.admin_token()).await.status;
    drop(guard);
    assert_eq!(status, 500);
    let log = log.text();
    assert!(log.contains(": assertion ") && !log.contains(": withdrawal "), "{log}");
}
