//! The binary as an operator meets it: exit codes, signals, and `kill -9`.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tracing::level_filters::LevelFilter;

use crate::harness::{
    Answer, Behaviour, Engine, Log, Serving, World, avouch, claims, client, declarations, eventually, run, text,
};

#[tokio::test]
async fn it_serves_without_any_configuration() {
    let folder = TempDir::new().unwrap();
    let mut server = Serving::start(folder.path(), &["serve", "--port", "0"]);
    let answer = client().get(format!("{}/.well-known/oauth-authorization-server", server.url)).send().await.unwrap();
    assert_eq!(Answer::read(answer).await.json()["issuer"], server.url);
    let mut names: Vec<String> =
        std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["data", "keys", "log"]);
    server.signal("TERM");
    assert_eq!(server.ended().await, Some(0));
    let mut rest = String::new();
    server.child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "standard output has the URL and nothing else");
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    for part in
        ["made keys/sealing.key", "made keys/admin-token", "[[users]]", "[[clients]]", "avouch demo", "/connections"]
    {
        assert!(log.contains(part), "{part}: {log}");
    }
    let token = std::fs::read_to_string(folder.path().join("keys/admin-token")).unwrap();
    assert!(!log.contains(&token), "{log}");
    assert!(folder.path().join("data/avouch.db").exists());
    assert!(!folder.path().join("data/avouch.db-wal").exists(), "the database is closed properly");
}

#[tokio::test]
async fn a_wrong_configuration_is_one_line_and_exit_2() {
    let cases = [
        ("listn = '127.0.0.1:0'", "`listen`"),
        ("issuer = 'nonsense'", "issuer"),
        ("issuer = 'http://id.example'", "https"),
        ("issuer = 'https://id.example/?x'", "issuer"),
        ("issuer = 'https://lab.invalid'", "a lab's name"),
        ("issuer = 'https://id.LAB.invalid'", "a lab's name"),
        ("database_url = 'mysql://x'", "database_url"),
        ("listen = 'here'", "listen"),
        ("[login.upstream]\nissuer = 'https://a.example'", "not supported yet"),
        ("[[users]]\nemail = 'a@b'\npassword = 'hunter2'\nnonsense = 1", "nonsense"),
        ("listen = '127.0.0.1:0", "line 1"),
        ("[network]\nallowed_networks = ['169.254.0.0/16']", "169.254.0.0/16"),
        ("[admin]\ntoken_file = 'avouch.toml'", "avouch.toml"),
        ("[keys]\ndir = 'open'", "open/sealing.key"),
    ];
    for (toml, says) in cases {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("avouch.toml"), toml).unwrap();
        if toml.contains("'open'") {
            std::fs::create_dir(folder.path().join("open")).unwrap();
            std::fs::write(folder.path().join("open/sealing.key"), [1; 32]).unwrap();
            let all = std::os::unix::fs::PermissionsExt::from_mode(0o644);
            std::fs::set_permissions(folder.path().join("open/sealing.key"), all).unwrap();
        }
        let output = run(folder.path(), &["serve", "--port", "0"]);
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(2), ""), "{toml}: {said}");
        assert!(said.starts_with("avouch: ") && said.lines().count() == 1 && said.contains(says), "{toml}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
        for made in ["keys", "open/admin-token"] {
            assert!(!folder.path().join(made).exists(), "{toml}: {made}");
        }
    }
    let folder = TempDir::new().unwrap();
    for args in [
        &["serve", "--config", "missing.toml"][..],
        &["serve", "--port", "x"],
        &["serv"],
        &[],
        &["sandbox", "--trust", "x"],
    ] {
        let output = run(folder.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?} {}", text(&output.stderr));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made");
}

#[tokio::test]
async fn what_cannot_run_is_one_line_and_exit_3() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let database = format!("postgres://user:hunter2@127.0.0.1:{}/db", gone.local_addr().unwrap().port());
    drop(gone);
    let folder = TempDir::new().unwrap();
    for (args, says) in [
        (&["serve", "--port", &port][..], format!("cannot listen on 127.0.0.1:{port}")),
        (&["sandbox", "--port", &port], format!("cannot listen on 127.0.0.1:{port}")),
    ] {
        let output = run(folder.path(), args);
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(3), ""), "{said}");
        assert!(said.lines().count() == 1 && said.contains(&says), "{said}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made");
    std::fs::write(folder.path().join("avouch.toml"), format!("database_url = '{database}'")).unwrap();
    for args in [&["serve", "--port", "0"][..], &["migrate"]] {
        let output = run(folder.path(), args);
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(3), ""), "{said}");
        assert!(said.lines().count() == 1 && said.contains("refused") && !said.contains("hunter2"), "{said}");
    }
    assert!(!folder.path().join("keys").exists());
}

#[tokio::test]
async fn the_smaller_commands() {
    let folder = TempDir::new().unwrap();
    for args in [
        &["--help"][..],
        &["serve", "--help"],
        &["demo", "--help"],
        &["sandbox", "--help"],
        &["check-config", "--help"],
        &["migrate", "--help"],
        &["user", "--help"],
        &["user", "hash-password", "--help"],
        &["--version"],
    ] {
        let output = run(folder.path(), args);
        assert!(output.status.success() && !output.stdout.is_empty(), "{args:?}");
    }
    for args in [
        &["serve"][..],
        &["demo"],
        &["sandbox"],
        &["check-config"],
        &["migrate"],
        &["backup"],
        &["openapi"],
        &["admin-token", "rotate"],
        &["issuer", "add"],
        &["issuer", "list"],
        &["issuer", "show"],
        &["issuer", "disable"],
        &["issuer", "enable"],
        &["user", "hash-password"],
        &["keys", "reseal"],
    ] {
        let help = text(&run(folder.path(), &[args, &["--help"]].concat()).stdout);
        let example = format!("Example:\n  avouch {}", args.join(" "));
        for part in [example.as_str(), "Variables:\n  AVOUCH__", "Exit codes:\n  0 done"] {
            assert!(help.contains(part), "{args:?}: {part}: {help}");
        }
    }
    let version = text(&run(folder.path(), &["--version"]).stdout);
    assert!(version.contains(" (") && version.trim_end().ends_with(')'), "with its commit: {version}");
    let output = avouch(folder.path(), &["check-config"])
        .env("AVOUCH_ISSUER", "https://id.example")
        .env("AVOUCH_KEYS_DIR", "elsewhere")
        .env("AVOUCH_SERVICE_HOST", "10.0.0.1")
        .env("AVOUCH_PORT_4000_TCP", "tcp://10.0.0.1:4000")
        .output()
        .unwrap();
    let said = text(&output.stdout);
    assert!(
        said.contains("Did you mean AVOUCH__ISSUER?") && said.contains("Did you mean AVOUCH__KEYS__DIR?"),
        "{said}"
    );
    assert_eq!(said.matches("warning").count(), 2, "what is somebody else's is not mentioned: {said}");
    let output = run(folder.path(), &["check-config"]);
    assert!(output.status.success() && text(&output.stdout).contains("http://localhost:4000"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it does nothing else");
    std::fs::write(folder.path().join("avouch.toml"), "nonsense = 1").unwrap();
    assert_eq!(run(folder.path(), &["check-config"]).status.code(), Some(2));
    assert_eq!(run(folder.path(), &["migrate"]).status.code(), Some(2));
    std::fs::remove_file(folder.path().join("avouch.toml")).unwrap();
    for _ in 0..2 {
        assert!(run(folder.path(), &["migrate"]).status.success());
    }
    assert!(folder.path().join("data/avouch.db").exists() && !folder.path().join("keys").exists());

    let hash = |password: &str| {
        let mut child = avouch(folder.path(), &["user", "hash-password"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let output = hash("a long enough password\n");
    let line = text(&output.stdout);
    assert!(output.status.success() && line.starts_with("$argon2id$") && line.lines().count() == 1, "{line}");
    let toml = format!("[[users]]\nemail = 'a@b'\npassword_hash = '{}'", line.trim_end());
    std::fs::write(folder.path().join("avouch.toml"), toml).unwrap();
    assert!(run(folder.path(), &["check-config"]).status.success(), "it is what the configuration takes");
    assert_eq!(hash("\n").status.code(), Some(2));
}

#[tokio::test]
async fn the_sandbox_serves_and_stops() {
    let folder = TempDir::new().unwrap();
    let mut sandbox = Serving::start(folder.path(), &["sandbox", "--port", "0"]);
    assert_eq!(client().get(format!("{}/api/resource", sandbox.url)).send().await.unwrap().status(), 401);
    sandbox.signal("INT");
    assert_eq!(sandbox.ended().await, Some(0));
}

/// A database with a used delegation, for a process of its own to serve: the folder of its configuration, and who hears of it.
pub(crate) async fn prepared(engine: Engine, extra: impl Fn(&str) -> String) -> (World, TempDir, String) {
    let world = World::with(engine, |service| declarations(service) + &extra(service)).await;
    let (folder, id) = leave(&world).await;
    (world, folder, id)
}

/// Ends a world's own server and leaves its database, with a used delegation, to a process.
pub(crate) async fn leave(world: &World) -> (TempDir, String) {
    let (_, _, id, _) = world.delegated().await;
    (leave_as_it_is(world), id)
}

/// The same with what is in the database.
pub(crate) fn leave_as_it_is(world: &World) -> TempDir {
    world.stop.send_replace(true);
    let folder = TempDir::new().unwrap();
    let toml = std::fs::read_to_string(world.database.path("avouch.toml")).unwrap();
    std::fs::write(folder.path().join("avouch.toml"), format!("listen = \"127.0.0.1:0\"\n{toml}")).unwrap();
    folder
}

/// A server on it. What it prints first is its issuer; where it listens comes next, in its log.
pub(crate) async fn serve(folder: &TempDir) -> Serving {
    serve_as(folder, "true").await
}

/// The same from a shell that has done something first.
pub(crate) async fn serve_as(folder: &TempDir, first: &str) -> Serving {
    let log = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    let before = log().len();
    let mut server = Serving::start_as(folder.path(), first, &["serve"]);
    let at = || Some(log().get(before..)?.split_once("listening on ")?.1.split_once('\n')?.0.to_owned());
    eventually("its address", async || at().is_some()).await;
    server.url = format!("http://{}", at().unwrap());
    server
}

pub(crate) async fn withdraw(server: &Serving, admin: &str, id: &str) -> Result<u16, reqwest::Error> {
    let url = format!("{}/api/v1/delegations/{id}", server.url);
    client().delete(url).bearer_auth(admin).send().await.map(|answer| answer.status().as_u16())
}

async fn killed_between_withdrawal_and_delivery(engine: Engine) {
    let (world, folder, id) = prepared(engine, |_| String::new()).await;
    world.service.behave(Behaviour::Hang);
    let mut server = serve(&folder).await;
    assert_eq!(withdraw(&server, &world.admin_token(), &id).await.unwrap(), 202);
    eventually("the attempt", async || world.service.received().len() == 1).await;
    server.signal("KILL");
    assert_eq!(server.ended().await, None);
    world.service.behave(Behaviour::Status(200));
    let _server = serve(&folder).await;
    eventually("the notice", async || world.service.received().len() == 2).await;
    let received = world.service.received();
    let (first, second) = (claims(&received[0]), claims(&received[1]));
    assert_eq!((&first["sub"], &first["aud"], &first["iss"]), (&second["sub"], &second["aud"], &second["iss"]));
    assert_ne!(first["jti"], second["jti"]);
    let delivered = || world.database.column("SELECT attempts FROM delivery WHERE state = 'delivered'");
    eventually("its end", async || delivered().await == ["2"]).await;
}

#[tokio::test]
async fn killed_between_withdrawal_and_delivery_on_sqlite() {
    killed_between_withdrawal_and_delivery(Engine::Sqlite).await;
}

/// Here the lease of the dead process has to run out first.
#[tokio::test]
async fn killed_between_withdrawal_and_delivery_on_postgres() {
    killed_between_withdrawal_and_delivery(Engine::Postgres).await;
}

const MANY: usize = 60;

fn many_services(service: &str) -> String {
    use std::fmt::Write as _;
    (0..MANY).fold(String::new(), |mut toml, n| {
        // Hosts of their own would need names of their own; one host hears of them one after the other.
        write!(toml, "\n[[services]]\naudience = \"https://s{n}.example\"\nrevocation_uri = \"{service}/revoke\"\n")
            .unwrap();
        toml
    })
}

/// Kills the server again and again in a stream of withdrawals. Whatever was answered is told, and what was not is whole or not at all.
async fn killed_at_many_points(engine: Engine) {
    let (world, folder, id) = prepared(engine, many_services).await;
    let mut ids = Vec::new();
    for n in 0..MANY {
        let sql = format!(
            "INSERT INTO delegation (id, issuer_id, account_id, iss, sub, aud, created_at, mint_count, last_exp)
             SELECT 'd{n}', issuer_id, account_id, iss, sub, 'https://s{n}.example', created_at, 1, 0 FROM delegation WHERE id = '{id}' RETURNING id"
        );
        ids.extend(world.database.column(&sql).await);
    }
    let admin = world.admin_token();
    let mut left = ids.iter().enumerate();
    let mut answered = HashSet::new();
    for round in 1..=6 {
        let mut server = serve(&folder).await;
        // The kill comes at another moment of the stream each time: after so many notices have arrived.
        let heard = world.service.received().len() + round;
        let stream = async {
            for (n, id) in left.by_ref() {
                match withdraw(&server, &admin, id).await {
                    Ok(status) => assert_eq!(status, 202),
                    Err(_) => return,
                }
                answered.insert(format!("https://s{n}.example"));
            }
        };
        let killer = async {
            eventually("some notices", async || world.service.received().len() >= heard || answered_all(&world).await)
                .await;
            server.signal("KILL");
        };
        tokio::join!(stream, killer);
        server.ended().await;
        // As if the seconds had passed after which another process takes over what a dead one held.
        world.database.column("UPDATE delivery SET leased_until = 0 WHERE lease IS NOT NULL RETURNING id").await;
    }
    assert!(answered.len() >= 6, "{}", answered.len());
    let _server = serve(&folder).await;
    let told = || {
        world.service.received().iter().map(|n| claims(n)["aud"].as_str().unwrap().to_owned()).collect::<HashSet<_>>()
    };
    eventually("every notice", async || answered.is_subset(&told())).await;
    // Ended, written and owed: all of it or nothing.
    let ended = world.database.column("SELECT id FROM delegation WHERE ended_at IS NOT NULL ORDER BY id").await;
    assert_eq!(world.database.column("SELECT delegation_id FROM delivery ORDER BY 1").await, ended);
    assert_eq!(
        world.database.column("SELECT delegation_id FROM journal WHERE kind = 'withdrawal' ORDER BY 1").await,
        ended
    );
    let queued = || world.database.column("SELECT COUNT(*) FROM delivery WHERE state = 'queued'");
    eventually("an empty outbox", async || queued().await == ["0"]).await;
}

async fn answered_all(world: &World) -> bool {
    world.database.column("SELECT COUNT(*) FROM delegation WHERE ended_at IS NULL").await == ["1"]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_many_points_on_sqlite() {
    killed_at_many_points(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_many_points_on_postgres() {
    killed_at_many_points(Engine::Postgres).await;
}

/// A request whose body is still on its way when the signal comes is answered; a notice that hangs delays the end no longer than its own
/// time-out; what nobody uses is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_finishes_what_is_in_flight() {
    let (world, folder, id) = prepared(Engine::Sqlite, |_| String::new()).await;
    world.service.behave(Behaviour::Hang);
    let mut server = serve(&folder).await;
    let at = server.url.strip_prefix("http://").unwrap().to_owned();
    let _idle = TcpStream::connect(&at).unwrap();
    assert_eq!(withdraw(&server, &world.admin_token(), &id).await.unwrap(), 202);
    eventually("the attempt", async || !world.service.received().is_empty()).await;
    let mut slow = TcpStream::connect(&at).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = "POST /token HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 12\r\n\r\ngrant";
    slow.write_all(head.as_bytes()).unwrap();
    // A later request that is answered shows that the earlier one was taken up.
    client().get(format!("{}/healthz", server.url)).send().await.unwrap();
    server.signal("TERM");
    eventually("no new connection", async || TcpStream::connect(&at).is_err()).await;
    assert!(server.child.try_wait().unwrap().is_none(), "it waits for the body");
    slow.write_all(b"_type=x").unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("invalid_client"), "{answer}");
    assert_eq!(server.ended().await, Some(0));
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(log.contains("stopping") && !log.contains("cut off") && !log.contains("ERROR"), "{log}");
    assert_eq!(world.database.column("SELECT COUNT(*) FROM delivery WHERE lease IS NOT NULL").await, ["0"]);
}

/// Connections that the database ends are made again; nobody has to start the server again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_away_comes_back() {
    let (world, folder, id) = prepared(Engine::Postgres, |_| String::new()).await;
    let path = folder.path().join("avouch.toml");
    let toml = std::fs::read_to_string(&path).unwrap();
    let name = format!("avouch-{}-gone", world.service.url.rsplit(':').next().unwrap());
    std::fs::write(&path, toml.replace("?options=", &format!("?application_name={name}&options="))).unwrap();
    let server = serve(&folder).await;
    let admin = world.admin_token();
    let list = async || {
        let request = client().get(format!("{}/api/v1/delegations", server.url)).bearer_auth(&admin);
        Answer::read(request.send().await.unwrap()).await
    };
    assert_eq!(list().await.status, 200);
    let sql =
        format!("SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = '{name}'");
    assert_ne!(world.database.column(&sql).await, ["0"]);
    eventually("an answer", async || {
        let answer = list().await;
        assert!(answer.status == 200 || answer.json()["code"].is_string(), "{}", answer.body);
        answer.status == 200
    })
    .await;
    assert_eq!(withdraw(&server, &admin, &id).await.unwrap(), 202);
    eventually("the notice", async || world.service.received().len() == 1).await;
}

/// At the most talkative level, nothing that anyone could use is logged.
#[tokio::test]
async fn no_secret_is_logged() {
    let (log, guard) = Log::keep(LevelFilter::TRACE);
    let world = World::start(Engine::Sqlite).await;
    let (browser, tokens, id, assertion) = world.delegated().await;
    let wrong = world.browser();
    let page = wrong.get("/login").await;
    wrong.submit(&page, "/login", &[("email", "alice@example.com"), ("password", "a wrong password")]).await;
    let client_assertion = world.client_assertion(&json!({}));
    world.service.behave(Behaviour::Status(500));
    world.api("DELETE", &format!("/delegations/{id}"), &world.admin_token()).await;
    world.settle().await;
    drop(guard);
    let log = log.text();
    for target in ["avouch::http::error", "avouch::store::journal", "hyper_util"] {
        assert!(log.contains(target), "it listened to {target}: {}", log.len());
    }
    let session = browser.cookie("avouch-session").unwrap();
    let admin = world.admin_token();
    let notices = world.service.received();
    let sealing = std::fs::read(Path::new(&world.database.keys()).join("sealing.key")).unwrap();
    let mut secrets: Vec<&str> = vec![
        crate::harness::PASSWORD,
        crate::harness::SECRET,
        "a wrong password",
        &assertion,
        &admin,
        &client_assertion,
    ];
    secrets.extend(notices.iter().map(String::as_str));
    secrets.extend(
        tokens.as_object().unwrap().iter().filter(|(n, _)| n.ends_with("_token")).filter_map(|(_, v)| v.as_str()),
    );
    secrets.push(&session);
    for secret in secrets {
        assert!(!log.contains(secret), "{}", &secret[..8]);
    }
    assert!(!log.contains(&format!("{sealing:?}")));
}
