//! The start: what it makes, what stops it, and that the database says what the configuration declares.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use avouch::clock::Clock;
use avouch::config::Config;
use avouch::domain::time::Seconds;
use avouch::flow::issuers;
use avouch::flow::start::{self, Accepted, StartError, StartReport};
use avouch::host::{App, DEFAULT_ISSUER};
use avouch::rng::Rng;
use serde_json::json;

use crate::harness::{ALICE, BOB, Database, Engine, NOW, PASSWORD, World, both, config, declarations};

const ISSUER: &str = "http://localhost:4000";
const SERVICE: &str = "http://localhost:8000";

async fn open(config: &Config) -> Result<(App, StartReport), StartError> {
    open_as(config, Accepted::default()).await
}

/// Where keys were put beforehand.
async fn open_new(config: &Config) -> Result<(App, StartReport), StartError> {
    open_as(config, Accepted { removals: false, new: true }).await
}

async fn open_as(config: &Config, accepted: Accepted) -> Result<(App, StartReport), StartError> {
    static SEEDS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(50_000);
    let seed = SEEDS.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    let (host, report) = start::open(config, accepted, Clock::fixed(NOW), Rng::seeded(seed)).await?;
    Ok((issuers::app(&host, DEFAULT_ISSUER).await.unwrap().unwrap(), report))
}

/// Why a start failed: one line, and the operator's to set right.
async fn refused(config: &Config) -> String {
    let Err(error) = open_new(config).await else { panic!("it started") };
    let text = error.to_string();
    assert!(error.is_configuration() && !text.contains('\n'), "{text}");
    text
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn files(database: &Database) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(database.keys())
        .map(|entries| entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect())
        .unwrap_or_default();
    names.sort();
    names
}

both! {
    async fn the_first_start_makes_keys_and_the_next_ones_find_them(world: World) {
        let keys = Path::new(&world.database.keys()).to_owned();
        assert_eq!(files(&world.database), ["admin-token", "sealing.key"]);
        assert_eq!((mode(&keys), mode(&keys.join("sealing.key")), mode(&keys.join("admin-token"))), (0o700, 0o600, 0o600));
        let config = config(&world.database, &world.issuer(), &declarations(&world.service.url));
        let (again, made) = open(&config).await.unwrap();
        assert!(made.files.is_empty() && !made.first_start);
        assert_eq!(again.issuer.ring.active.kid(), world.app.issuer.ring.active.kid());
        assert_eq!(files(&world.database), ["admin-token", "sealing.key"]);
        assert_eq!(world.database.column("SELECT COUNT(*) FROM signing_key").await, ["1"]);
        let hash = world.database.column("SELECT admin_token_hash FROM issuer").await;
        assert_ne!(hash[0], world.admin_token(), "its hash alone is kept");

        // The token's file may be taken away; the token still works.
        let token = world.admin_token();
        fs::remove_file(keys.join("admin-token")).unwrap();
        let (again, made) = open(&config).await.unwrap();
        assert!(made.files.is_empty() && avouch::secret::same(&again.issuer.admin_token_hash, &avouch::secret::token_hash(&token)));
    }
}

both! {
    async fn a_sealing_key_that_cannot_be_used_stops_the_start(world: World) {
        let path = Path::new(&world.database.keys()).join("sealing.key");
        let config = config(&world.database, &world.issuer(), &declarations(&world.service.url));
        let right = fs::read(&path).unwrap();
        let wrong: [(&str, u32, Option<&[u8]>, &str); 8] = [
            ("missing", 0o600, None, "it is missing"),
            ("writable by its group", 0o660, Some(&right), "chmod 600"),
            ("readable by all", 0o644, Some(&right), "chmod 600"),
            ("writable by all", 0o602, Some(&right), "chmod 600"),
            ("empty", 0o600, Some(&[]), "32"),
            ("short", 0o600, Some(&right[..31]), "32"),
            ("huge", 0o600, Some(&[7; 5000]), "larger"),
            ("another", 0o600, Some(&[7; 32]), "signing keys"),
        ];
        for (what, mode, bytes, says) in wrong {
            fs::remove_file(&path).unwrap();
            if let Some(bytes) = bytes {
                fs::write(&path, bytes).unwrap();
                chmod(&path, mode);
            }
            let text = refused(&config).await;
            assert!(text.contains(says), "{what}: {text}");
            assert!(what == "another" || text.contains("sealing.key"), "{what}: {text}");
            assert_eq!(path.exists(), bytes.is_some(), "{what}: nothing is made in its place");
            assert_eq!(fs::read(&path).ok().as_deref(), bytes, "{what}: what is there is left");
            if bytes.is_none() {
                fs::write(&path, [0]).unwrap();
            }
        }
        assert_eq!(world.database.column("SELECT COUNT(*) FROM signing_key").await, ["1"]);
        fs::write(&path, &right).unwrap();
        chmod(&path, 0o640);
        assert_eq!(open(&config).await.unwrap().0.issuer.ring.active.kid(), world.app.issuer.ring.active.kid());
    }
}

#[tokio::test]
async fn a_bad_key_file_on_an_empty_database_stops_the_start_before_anything_is_made() {
    for (name, bytes, mode) in [
        ("sealing.key", &[7_u8; 31][..], 0o600),
        ("sealing.key", &[7; 32], 0o644),
        ("admin-token", b"short", 0o600),
        ("admin-token", b"a token that is long enough for anyone", 0o604),
    ] {
        let database = Database::make(Engine::Sqlite).await;
        let path = Path::new(&database.keys()).join(name);
        fs::create_dir(database.keys()).unwrap();
        fs::write(&path, bytes).unwrap();
        chmod(&path, mode);
        let config = config(&database, ISSUER, "");
        let text = refused(&config).await;
        assert!(text.contains(name), "{text}");
        assert_eq!(files(&database), [name], "no other file is made");
        assert_eq!(
            database.path("avouch.db").exists(),
            name == "admin-token",
            "nor a database, unless it had to be asked"
        );
        if name == "admin-token" {
            assert_eq!(database.column("SELECT COUNT(*) FROM issuer").await, ["0"], "an empty one then");
        }
        fs::remove_file(&path).unwrap();
        assert!(open(&config).await.unwrap().1.first_start);
    }
}

#[tokio::test]
async fn keys_that_were_put_there_are_used() {
    let database = Database::make(Engine::Sqlite).await;
    let keys = Path::new(&database.keys()).to_owned();
    fs::create_dir(&keys).unwrap();
    let token = "a token that an operator chose themselves";
    fs::write(keys.join("admin-token"), format!("{token}\n")).unwrap();
    fs::write(keys.join("sealing.key"), [9; 32]).unwrap();
    for name in ["admin-token", "sealing.key"] {
        chmod(&keys.join(name), 0o600);
    }
    let (app, made) = open_new(&config(&database, ISSUER, "")).await.unwrap();
    assert!(made.files.is_empty());
    assert!(avouch::secret::same(&app.issuer.admin_token_hash, &avouch::secret::token_hash(token)), "less its newline");
    assert_eq!(fs::read(keys.join("sealing.key")).unwrap(), [9; 32]);
}

#[tokio::test]
async fn a_database_has_one_issuer() {
    let database = Database::make(Engine::Sqlite).await;
    let (app, _) = open(&config(&database, ISSUER, &declarations(SERVICE))).await.unwrap();
    drop(app);
    let text = refused(&config(&database, "http://localhost:4001", "")).await;
    assert!(text.contains(ISSUER) && text.contains("http://localhost:4001"), "{text}");
    assert_eq!(database.column("SELECT url FROM issuer").await, [ISSUER]);
    let enabled = database.column("SELECT COUNT(*) FROM client WHERE disabled_at IS NULL").await;
    assert_eq!(enabled, ["5"], "the other configuration was not applied");
}

#[tokio::test]
async fn the_folder_of_the_database_is_made() {
    let database = Database::make(Engine::Sqlite).await;
    let mut config = config(&database, ISSUER, "");
    let file = database.path("deep/er/avouch.db");
    config.database = avouch::config::Database::Sqlite(file.clone());
    open(&config).await.unwrap();
    assert!(file.exists());
    assert_eq!(mode(file.parent().unwrap()), 0o700, "it holds password hashes");
}

/// Also in a folder that everybody may look into, and where earlier versions made the files.
#[tokio::test]
async fn nobody_else_reads_the_database() {
    let database = Database::make(Engine::Sqlite).await;
    chmod(database.path("").as_path(), 0o755);
    let (app, _) = open(&config(&database, ISSUER, "")).await.unwrap();
    let all = ["avouch.db", "avouch.db-wal", "avouch.db-shm"].map(|name| database.path(name));
    let modes = || all.iter().map(|file| mode(file)).collect::<Vec<_>>();
    assert_eq!(modes(), [0o600; 3]);
    for file in &all {
        chmod(file, 0o664);
    }
    let (again, _) = open(&config(&database, ISSUER, "")).await.unwrap();
    assert_eq!(modes(), [0o600; 3]);
    drop((app, again));
}

#[tokio::test]
async fn what_a_killed_start_left_is_swept_at_the_next() {
    let database = Database::make(Engine::Sqlite).await;
    let keys = Path::new(&database.keys()).to_owned();
    fs::create_dir(&keys).unwrap();
    let declared = "[[issuers]]\nid = \"acme\"\nname = \"Acme\"\n";
    let id = "0123456789abcdef0123456789abcdef";
    let left = [format!("sealing.new-{id}"), format!("admin-token.new-{id}"), format!("admin-token-acme.new-{id}")];
    let others = ["sealing.new-x".to_owned(), format!("other.new-{id}"), format!("sealing.old-{id}")];
    for name in left.iter().chain(&others) {
        fs::write(keys.join(name), "half").unwrap();
    }
    open(&config(&database, ISSUER, declared)).await.unwrap();
    let mut names: Vec<&str> = others.iter().map(String::as_str).collect();
    names.extend(["admin-token", "admin-token-acme", "sealing.key"]);
    names.sort_unstable();
    assert_eq!(files(&database), names, "and nothing that is not ours");
    for name in &left {
        fs::write(keys.join(name), "half").unwrap();
    }
    open(&config(&database, ISSUER, declared)).await.unwrap();
    assert_eq!(files(&database), names);
}

both! {
    async fn what_is_declared_twice_is_applied_once(world: World) {
        const VERSIONS: &str = "SELECT client_name || version FROM client UNION ALL SELECT name || version FROM service
            UNION ALL SELECT email || version FROM account ORDER BY 1";
        let before = world.database.column(VERSIONS).await;
        assert!(before.len() == 8 && before.iter().all(|row| row.ends_with('1')), "{before:?}");
        world.clock.advance(Seconds(1000));
        let declared = declarations(&world.service.url);
        world.replica(&declared).await;
        assert_eq!(world.database.column(VERSIONS).await, before, "the same declarations change nothing");
        let changed = declared.replace("Travel Agent", "Travel Agency");
        world.replica(&changed).await;
        let after = world.database.column(VERSIONS).await;
        let differ: Vec<&String> = after.iter().filter(|row| !before.contains(row)).collect();
        assert_eq!(differ, ["Travel Agency2"]);
    }
}

fn without(declared: &str, section: &str, line: &str) -> String {
    let tables = declared.split("\n[[").enumerate();
    let kept = tables.filter(|(_, table)| !(table.starts_with(section) && table.lines().any(|l| l == line)));
    kept.map(|(n, table)| if n == 0 { table.to_owned() } else { format!("\n[[{table}") }).collect()
}

both! {
    async fn what_disappears_from_the_configuration_is_withdrawn(world: World) {
        let declared = declarations(&world.service.url);
        let (_, mut tokens, id, _) = world.delegated().await;
        let path = format!("/delegations/{id}");
        let cases = [
            ("users", format!("email = \"{ALICE}\""), "SELECT email FROM account WHERE disabled_at IS NOT NULL", ALICE.to_owned()),
            ("clients", "client_id = \"desk-agent\"".to_owned(), "SELECT client_id FROM client WHERE disabled_at IS NOT NULL", "desk-agent".to_owned()),
            ("services", format!("audience = \"{}\"", world.service.url), "SELECT audience FROM service WHERE disabled_at IS NOT NULL", world.service.url.clone()),
        ];
        let mut told = 0;
        for (n, (section, line, disabled, name)) in cases.into_iter().enumerate() {
            let less = without(&declared, section, &line);
            assert!(less.len() < declared.len());
            let replica = world.replica(&less).await;
            assert_eq!(world.database.column(disabled).await, [name]);
            let (status, _) = world.exchange("desk-agent", &tokens, &[]).await;
            assert!((400..500).contains(&status), "{section}: {status}");
            let record = world.api("GET", &path, &world.admin_token()).await.json();
            assert_eq!(record["status"], "withdrawing", "{section}");
            let told_why = world.database.column("SELECT body FROM journal WHERE kind = 'withdrawal' ORDER BY id DESC").await;
            assert!(told_why.len() == n + 1 && told_why[0].contains(r#""why":"configuration""#), "{told_why:?}");
            replica.settle().await;
            told += 1;
            assert_eq!(world.service.received().len(), told, "{section}: the service hears of it, also when it is the one that goes");

            // Back again: enabled, and what was withdrawn stays so until the user agrees anew.
            world.replica(&declared).await;
            assert!(world.database.column(disabled).await.is_empty());
            let record = world.api("GET", &path, &world.admin_token()).await.json();
            assert_eq!(record["status"], "withdrawing", "the second notice is still owed");
            world.clock.advance(Seconds(420));
            world.settle().await;
            told += 1;
            assert_eq!(world.service.received().len(), told);
            assert_eq!(world.api("GET", &path, &world.admin_token()).await.json()["status"], "withdrawn");
            let browser = world.signed_in(ALICE).await;
            tokens = world.tokens(&browser, "desk-agent").await;
            let (status, body) = world.exchange("desk-agent", &tokens, &[]).await;
            assert_eq!((status, &body["error"]), (400, &json!("consent_required")), "{section}");
            world.clock.advance(Seconds(5));
            world.agree(&browser, "desk-agent", &tokens, "always", &[]).await;
            assert_eq!(world.exchange("desk-agent", &tokens, &[]).await.0, 200, "{section}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_that_start_at_once_agree() {
    let database = Database::make(Engine::Postgres).await;
    let configs: Vec<Config> = (0..4).map(|_| config(&database, ISSUER, &declarations(SERVICE))).collect();
    let starts = configs.into_iter().map(|config| tokio::spawn(async move { open(&config).await }));
    let mut kids = Vec::new();
    let mut made = 0;
    for start in starts.collect::<Vec<_>>() {
        let (app, m) = start.await.unwrap().unwrap();
        made += m.files.len();
        kids.push((app.issuer.ring.active.kid().to_owned(), app.issuer.admin_token_hash.clone()));
    }
    kids.dedup();
    assert_eq!(kids.len(), 1, "one key and one token");
    assert_eq!(made, 2, "each file is made by one of them");
    assert_eq!(files(&database), ["admin-token", "sealing.key"]);
    assert_eq!(database.column("SELECT COUNT(*) FROM issuer").await, ["1"]);
    assert_eq!(database.column("SELECT COUNT(*) FROM signing_key").await, ["1"]);
    assert_eq!(database.column("SELECT COUNT(*) FROM account").await, ["2"]);
}

#[tokio::test]
async fn a_password_is_the_configurations() {
    let world = World::start(Engine::Sqlite).await;
    let can_sign_in = async |world: &World, email: &str, password: &str| {
        let browser = world.browser();
        let page = browser.get("/login").await;
        browser.submit(&page, "/login", &[("email", email), ("password", password)]).await.status == 303
    };
    let hash = "SELECT password_hash FROM account WHERE email = 'alice@example.com'";
    let before = world.database.column(hash).await;
    let declared = declarations(&world.service.url);
    world.replica(&declared).await;
    assert_eq!(world.database.column(hash).await, before, "the same password keeps its hash");
    let (one, two) = (format!("password = \"{PASSWORD}\""), "password = \"another one, longer\"");
    let changed = world.replica(&declared.replacen(&one, two, 1)).await;
    assert!(can_sign_in(&changed, ALICE, "another one, longer").await);
    assert!(!can_sign_in(&changed, ALICE, PASSWORD).await);
    assert!(can_sign_in(&changed, BOB, PASSWORD).await);
    // With none declared nobody signs in by the old one.
    let without = world.replica(&declared.replacen(&one, "", 1)).await;
    assert!(!can_sign_in(&without, ALICE, "another one, longer").await);
    assert!(can_sign_in(&without, BOB, PASSWORD).await);
}
