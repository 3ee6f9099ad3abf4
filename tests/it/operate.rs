//! What keeps an operator from losing everything by accident: removals, empty databases, backups, admin tokens, a configuration read again.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use avouch::clock::Clock;
use avouch::config::Config;
use avouch::flow::admin_token::{self, Rotated};
use avouch::flow::start::{self, Accepted};
use avouch::flow::{issuers, reload};
use avouch::host::{DEFAULT_ISSUER, Host};
use avouch::rng::Rng;
use tempfile::TempDir;

use crate::harness::{
    Answer, Database, Engine, NOW, Serving, World, both, client, config, declarations, eventually, run, text, twins,
};
use crate::process::{leave, prepared, serve};

const ENABLED: &str = "SELECT email FROM account WHERE disabled_at IS NULL UNION ALL SELECT client_id FROM client WHERE disabled_at IS NULL
    UNION ALL SELECT audience FROM service WHERE disabled_at IS NULL ORDER BY 1";
const NEW: Accepted = Accepted { removals: false, new: true };
const REMOVALS: Accepted = Accepted { removals: true, new: false };

/// A start of its own: what it says when it is refused, in one line.
async fn start(config: &Config, accepted: Accepted) -> Result<Host, String> {
    match start::open(config, accepted, Clock::fixed(NOW), Rng::Os).await {
        Ok((host, _)) => Ok(host),
        Err(error) => {
            let text = error.to_string();
            assert!(error.is_configuration() && !text.contains('\n'), "{text}");
            Err(text)
        }
    }
}

fn without(declared: &str, issuer: Option<&str>, kind: &str) -> String {
    let line = issuer.map(|id| format!("issuer = \"{id}\""));
    let tables = declared.split("\n[[");
    let goes = |table: &&str| {
        table.starts_with(kind) && line.as_ref().map_or(!table.contains("\nissuer ="), |line| table.contains(line))
    };
    tables.filter(|table| !goes(table)).collect::<Vec<_>>().join("\n[[")
}

both! {
    async fn a_start_that_would_remove_everything_is_refused(world: World) {
        let declared = twins(&world.service.url);
        let world = world.replica(&declared).await;
        let before = world.database.column(ENABLED).await;
        for issuer in [None, Some("acme")] {
            for kind in ["users", "clients", "services"] {
                let less = without(&declared, issuer, kind);
                assert!(less.len() < declared.len());
                // Another change, of the other issuer: nothing of it is applied either.
                let less = less.replace("Travel Agent", "Travel Agency");
                let refused = start(&config(&world.database, &world.issuer(), &less), Accepted::default()).await.err().unwrap();
                let url = issuer.map_or(world.issuer(), |id| format!("{}/{id}", world.issuer()));
                let said = [format!("all declared {kind} ("), format!(" of {url} would"), "--accept-removals".to_owned()];
                assert!(said.iter().all(|part| refused.contains(part)), "{refused}");
            }
        }
        assert_eq!(world.database.column(ENABLED).await, before);
        let renamed = world.database.column("SELECT client_id FROM client WHERE client_name = 'Travel Agency'").await;
        assert!(renamed.is_empty(), "judged before anything is applied");

        // Other names in place of all of them are no better; some of them may always go.
        let others = declared.replace("@example.com", "@another.example");
        assert!(start(&config(&world.database, &world.issuer(), &others), Accepted::default()).await.is_err());
        let some = declared.replacen("bob@example.com", "carol@example.com", 1);
        start(&config(&world.database, &world.issuer(), &some), Accepted::default()).await.unwrap();

        // And what is meant is done.
        start(&config(&world.database, &world.issuer(), ""), REMOVALS).await.unwrap();
        let left = world.database.column("SELECT email FROM account JOIN issuer i ON i.id = issuer_id WHERE account.disabled_at IS NULL AND i.disabled_at IS NULL").await;
        assert!(left.is_empty(), "{left:?}");
        start(&config(&world.database, &world.issuer(), ""), Accepted::default()).await.unwrap();
    }
}

/// The rows, whatever is in them, and the files beside the database.
fn state(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && !path.ends_with("avouch.toml"))
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn check_config_says_what_a_start_would_change_and_changes_nothing() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let database = Database::make(engine).await;
        let issuer = "http://localhost:4000";
        let check = |declared: &str| {
            config(&database, issuer, declared);
            let output = run(database.path("").as_path(), &["check-config"]);
            (output.status.code(), text(&output.stdout) + &text(&output.stderr))
        };
        let service = "http://localhost:8000";
        let declared = twins(service);
        let (code, said) = check(&declared);
        assert!(code == Some(0) && said.contains("a start would be the first"), "{said}");
        assert!(!database.path("keys").exists() && !database.path("avouch.db").exists());

        let config_now = config(&database, issuer, &declared);
        let host = start(&config_now, Accepted::default()).await.unwrap();
        avouch::flow::declare::hash_passwords(host.clone(), config_now.users).await;
        host.database.close().await;
        let before = (state(&database.path("")), database.column(ENABLED).await);
        let (code, said) = check(&declared);
        assert!(code == Some(0) && said.contains("would change nothing"), "{said}");
        let other =
            declared.replacen("bob@example.com", "carol@example.com", 1).replace("Travel Agent", "Travel Agency")
                + "\n[[issuers]]\nid = \"other\"\nname = \"Other\"";
        let (code, said) = check(&other);
        assert_eq!(code, Some(0), "{said}");
        for part in [
            "default\n    add 1 users: carol@example.com\n    remove 1 users: bob@example.com\n    change 1 clients: travel-agent",
            "  acme\n    change 1 clients: travel-agent",
            "  other, a new issuer",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let (code, said) = check(&without(&declared, Some("acme"), "clients"));
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("a start would be refused: all declared clients (5) of"), "{said}");
        let (code, said) = check(
            &declared
                .replace("[[issuers]]\nid = \"acme\"", "[[issuers]]\nid = \"acne\"")
                .replace("\"acme\"", "\"acne\""),
        );
        assert!(
            code == Some(0) && said.contains("acne, a new issuer") && said.contains("acme: no longer declared"),
            "{said}"
        );
        assert_eq!((state(&database.path("")), database.column(ENABLED).await), before);

        // A later version's database is told from a broken one.
        let insert = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
            SELECT 9999, 'later', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1 RETURNING description";
        database.column(insert).await;
        let (code, said) = check(&declared);
        assert!(
            code == Some(3) && said.contains("a start would be refused") && said.contains("a newer avouch"),
            "{said}"
        );
        let output = run(database.path("").as_path(), &["serve", "--port", "0"]);
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(3) && said.contains("made or migrated by a newer avouch"), "{said}");
    }
}

both! {
    async fn keys_beside_an_empty_database_stop_the_start(world: World) {
        let config = config(&world.database, &world.issuer(), &declarations(&world.service.url));
        let keys = world.database.keys();
        let other = Database::make(if world.host.database.is_private() { Engine::Sqlite } else { Engine::Postgres }).await;
        let mut moved = crate::harness::config(&other, &world.issuer(), &declarations(&world.service.url));
        moved.keys_dir = keys.clone().into();
        moved.admin_token_file = Path::new(&keys).join("admin-token");
        for missing in ["", "admin-token", "sealing.key"] {
            let away = Path::new(&keys).join("away");
            if !missing.is_empty() {
                fs::rename(Path::new(&keys).join(missing), &away).unwrap();
            }
            let refused = start(&moved, Accepted::default()).await.err().unwrap();
            assert!(refused.contains("there are keys already") && refused.contains("--new"), "{refused}");
            assert!(!other.path("avouch.db").exists(), "nothing is made where the right file belongs");
            if !missing.is_empty() {
                assert!(!Path::new(&keys).join(missing).exists(), "no key is made either");
                fs::rename(&away, Path::new(&keys).join(missing)).unwrap();
            }
        }
        // Tables without rows, as after `avouch migrate` or in a copy without its log, are empty as well, and leave no log beside.
        start::migrate(&moved).await.unwrap();
        assert!(start(&moved, Accepted::default()).await.err().unwrap().contains("--new"));
        assert!(!other.path("avouch.db-wal").exists());
        let host = start(&moved, NEW).await.unwrap();
        assert_eq!(issuers::app(&host, DEFAULT_ISSUER).await.unwrap().unwrap().issuer.admin_token_hash, world.app.issuer.admin_token_hash);
        start(&moved, Accepted::default()).await.unwrap();
        start(&config, Accepted::default()).await.unwrap();
    }
}

/// As `kill -9` leaves it after each step of a first start: the marker, a key, both, the row.
#[tokio::test]
async fn a_first_start_that_was_cut_short_goes_on() {
    for made in [&[][..], &["sealing.key"], &["sealing.key", "admin-token"]] {
        let database = Database::make(Engine::Sqlite).await;
        let keys = Path::new(&database.keys()).to_owned();
        fs::create_dir(&keys).unwrap();
        fs::write(keys.join("first-start"), "").unwrap();
        for name in made {
            fs::write(keys.join(name), [b'7'; 32]).unwrap();
            fs::set_permissions(keys.join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let config = config(&database, "http://localhost:4000", "");
        start(&config, Accepted::default()).await.unwrap();
        for name in made {
            assert_eq!(fs::read(keys.join(name)).unwrap(), [b'7'; 32], "what was made is used");
        }
        assert!(!keys.join("first-start").exists(), "the row is durable");
        // Cut short between the row and the marker: the next start takes it away, so that it protects again.
        fs::write(keys.join("first-start"), "").unwrap();
        start(&config, Accepted::default()).await.unwrap();
        assert!(!keys.join("first-start").exists());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_running_server_is_whole() {
    let (world, folder, id) = prepared(Engine::Sqlite, |_| String::new()).await;
    let server = serve(&folder).await;
    let copy = folder.path().join("copy.db");
    let output = run(folder.path(), &["backup", "copy.db"]);
    assert_eq!(
        (output.status.code(), text(&output.stdout).as_str()),
        (Some(0), "copy.db\n"),
        "{}",
        text(&output.stderr)
    );
    assert!(text(&output.stderr).contains("sealing.key"));
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    // What came after it is not in it, and it is never overwritten.
    let admin = world.admin_token();
    assert_eq!(crate::process::withdraw(&server, &admin, &id).await.unwrap(), 202);
    let before = fs::read(&copy).unwrap();
    let output = run(folder.path(), &["backup", "copy.db"]);
    assert!(output.status.code() == Some(2) && text(&output.stderr).contains("already"), "{}", text(&output.stderr));
    assert_eq!(fs::read(&copy).unwrap(), before);
    let output = run(folder.path(), &["backup", "nowhere/copy.db"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    drop(server);

    // Restored: the same keys, and the delegation as it was.
    for file in ["avouch.db-wal", "avouch.db-shm"] {
        let _ = fs::remove_file(world.database.path(file));
    }
    fs::rename(&copy, world.database.path("avouch.db")).unwrap();
    let server = serve(&folder).await;
    let url = format!("{}/api/v1/delegations/{id}", server.url);
    let answer = Answer::read(client().get(url).bearer_auth(&admin).send().await.unwrap()).await;
    assert_eq!(answer.json()["status"], "active", "{}", answer.body);
}

#[tokio::test]
async fn a_backup_names_what_it_cannot_do() {
    let folder = TempDir::new().unwrap();
    let output = run(folder.path(), &["backup", "copy.db"]);
    assert!(output.status.code() == Some(2) && text(&output.stderr).contains("Start `avouch serve`"));
    let url = "postgres://avouch:hunter2@db.example:5432/avouch?options=x";
    fs::write(folder.path().join("avouch.toml"), format!("database_url = '{url}'")).unwrap();
    let output = run(folder.path(), &["backup", "it's.dump"]);
    let said = text(&output.stderr);
    let line = r"pg_dump --format=custom --file='it'\''s.dump' 'postgres://avouch@db.example:5432/avouch'";
    assert!(output.status.code() == Some(2) && said.contains(line) && !said.contains("hunter2"), "{said}");
    assert!(!folder.path().join("copy.db").exists() && !folder.path().join("data").exists());
}

both! {
    async fn a_rotated_admin_token_is_the_only_one(world: World) {
        let declared = twins(&world.service.url);
        let config = config(&world.database, &world.issuer(), &declared);
        let world = world.replica(&declared).await;
        let replica = world.replica(&declared).await;
        let added = avouch::flow::issuers_admin::Looks {
            name: avouch::domain::display_name::DisplayName::parse("Other").unwrap(), colour: None, logo: None,
        };
        let id = avouch::domain::issuer::IssuerId::parse("other").unwrap();
        let (_, other) = avouch::flow::issuers_admin::add(&world.host, &id, &added).await.unwrap();
        for id in [DEFAULT_ISSUER, "acme", "other"] {
            let both = if id == DEFAULT_ISSUER { None } else { Some((world.under(id).await, replica.under(id).await)) };
            let (world, replica) = both.as_ref().map_or((&world, &replica), |(world, replica)| (world, replica));
            let old = if id == "other" { other.expose().to_owned() } else { world.admin_token() };
            assert_eq!(replica.api("GET", "/delegations", &old).await.status, 200);
            let new = match admin_token::rotate(&world.host, &config, id).await.unwrap() {
                Rotated::In(file) => {
                    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
                    assert_eq!(file.exists(), id != "other");
                    fs::read_to_string(file).unwrap()
                }
                Rotated::Once(token) => {
                    assert_eq!(id, "other", "nobody asked for a file of its token");
                    token.expose().to_owned()
                }
            };
            assert_ne!(new, old);
            // What the worker does every second.
            issuers::refresh(&replica.host).await.unwrap();
            for world in [world, replica] {
                assert_eq!(world.api("GET", "/delegations", &old).await.status, 401, "{id}");
                assert_eq!(world.api("GET", "/delegations", &new).await.status, 200, "{id}");
            }
            let journal = format!("SELECT body FROM journal WHERE kind = 'admin_token.rotated' AND issuer_id = '{id}'");
            assert_eq!(world.database.column(&journal).await, ["{}"]);
        }
        assert_eq!(fs::read_dir(world.database.keys()).unwrap().count(), 3, "nothing is left beside");
        start(&config, Accepted::default()).await.unwrap();
        let unknown = admin_token::rotate(&world.host, &config, "nobody").await.unwrap_err();
        assert!(unknown.is_configuration());
    }
}

both! {
    async fn an_admin_token_that_is_not_the_databases_stops_the_start(world: World) {
        let declared = twins(&world.service.url);
        let config = config(&world.database, &world.issuer(), &declared);
        let world = world.replica(&declared).await;
        for (name, of) in [("admin-token", ""), ("admin-token-acme", " --issuer acme")] {
            let file = Path::new(&world.database.keys()).join(name);
            let right = fs::read(&file).unwrap();
            fs::write(&file, "a token that somebody thought would be the new one").unwrap();
            let refused = start(&config, Accepted::default()).await.err().unwrap();
            assert!(refused.contains(name) && refused.ends_with(&format!("avouch admin-token rotate{of}")), "{refused}");
            // It does not stop the remedy.
            let id = name.strip_prefix("admin-token-").unwrap_or(DEFAULT_ISSUER);
            let host = start::connect(&config, Clock::fixed(NOW), Rng::Os).await.unwrap();
            admin_token::rotate(&host, &config, id).await.unwrap();
            assert_ne!(fs::read(&file).unwrap(), right);
            start(&config, Accepted::default()).await.unwrap();
            fs::remove_file(&file).unwrap();
            start(&config, Accepted::default()).await.unwrap();
        }
    }
}

both! {
    async fn a_configuration_read_again_is_applied_or_refused_as_a_whole(world: World) {
        let declared = declarations(&world.service.url);
        let running = config(&world.database, &world.issuer(), &declared);
        let before = world.database.column(ENABLED).await;
        let apply = async |declared: &str| {
            let mut read = config(&world.database, &world.issuer(), declared);
            reload::apply(&world.host, &running, &mut read).await
        };
        let more = format!("{declared}\n[[users]]\nemail = \"carol@example.com\"\n[[issuers]]\nid = \"acme\"\nname = \"Acme\"\n[cimd]\nclient_name = \"Another\"");
        // One thing wrong, and nothing is applied.
        for wrong in [
            format!("{more}\n[[issuers]]\nid = \"logo\"\nname = \"Logo\"\nlogo_file = \"missing.png\""),
            without(&more, None, "services"),
        ] {
            assert!(apply(&wrong).await.unwrap_err().is_configuration());
            assert_eq!(world.database.column(ENABLED).await, before);
        }
        let mut other = config(&world.database, "http://localhost:9", &more);
        assert!(reload::apply(&world.host, &running, &mut other).await.unwrap_err().to_string().starts_with("issuer:"));

        let (report, fixed) = apply(&more).await.unwrap();
        assert!(fixed.is_empty() && report.files.len() == 1, "the token of the new issuer: {report:?}");
        let after = world.database.column(ENABLED).await;
        assert_eq!(after.len(), before.len() + 1);
        assert!(after.contains(&"carol@example.com".to_owned()));
        let page = client().get(format!("{}/acme/login", world.url)).send().await.unwrap();
        assert_eq!(page.status(), 200, "at once");
        let cimd = Answer::read(client().get(format!("{}/agent-auth.json", world.url)).send().await.unwrap()).await;
        assert_eq!(cimd.json()["client_name"], "Another");

        let mut read = config(&world.database, &world.issuer(), &more);
        read.listen.set_port(1);
        read.database = avouch::config::Database::Sqlite("elsewhere.db".into());
        read.trusted_proxies.push("10.0.0.0/8".parse().unwrap());
        let (_, fixed) = reload::apply(&world.host, &running, &mut read).await.unwrap();
        assert_eq!(fixed, ["listen", "database_url", "trusted_proxies"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_reads_the_configuration_again() {
    let world = World::start(Engine::Sqlite).await;
    let (folder, _) = leave(&world).await;
    let server = serve(&folder).await;
    let path = folder.path().join("avouch.toml");
    let toml = fs::read_to_string(&path).unwrap();
    let log = || fs::read_to_string(folder.path().join("log")).unwrap();
    fs::write(
        &path,
        format!("{toml}\n[[users]]\nemail = \"carol@example.com\"\npassword = \"correct horse battery\"\nnonsense = 1"),
    )
    .unwrap();
    server.signal("HUP");
    eventually("a refusal", async || log().contains("is not applied")).await;
    assert!(log().contains("nonsense"), "{}", log());
    let toml = toml.replace("listen = \"127.0.0.1:0\"", "listen = \"127.0.0.1:1\"");
    fs::write(&path, format!("{toml}\n[[users]]\nemail = \"carol@example.com\"\npassword = \"correct horse battery\""))
        .unwrap();
    server.signal("HUP");
    eventually("the application", async || log().contains("read again and applied")).await;
    assert!(log().contains("only a restart applies it: listen"), "{}", log());
    let hash = "SELECT COUNT(password_hash) FROM account WHERE email = 'carol@example.com'";
    eventually("the password", async || world.database.column(hash).await == ["1"]).await;
    assert_eq!(client().get(format!("{}/healthz", server.url)).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_start_says_in_its_log_what_it_removes() {
    let (_world, folder, _) = prepared(Engine::Sqlite, |_| String::new()).await;
    let path = folder.path().join("avouch.toml");
    let toml = fs::read_to_string(&path).unwrap();
    let gone = toml.find("\n[[users]]").unwrap();
    fs::write(&path, &toml[..gone]).unwrap();
    let output = run(folder.path(), &["serve"]);
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("users (2) and clients (5) and services (1)"), "{said}");
    let log = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    let _server = Serving::start(folder.path(), &["serve", "--accept-removals"]);
    eventually("a warning", async || log().contains("no longer declares")).await;
    let said = log();
    let line = said.lines().find(|line| line.contains("no longer declares")).unwrap();
    let counts = ["WARN", "users=2", "clients=5", "services=1"];
    assert!(counts.iter().all(|part| line.contains(part)), "{line}");
    eventually("the withdrawal", async || log().contains("withdrew what stood under what was removed")).await;
    assert!(log().contains(" delegations=1"), "{}", log());
}
