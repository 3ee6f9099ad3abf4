//! Tables of the rules: each case is a small file and some variables, and the one line that must come out.

use std::path::{Path, PathBuf};

use super::{Config, ConfigError, Database};
use crate::domain::time::Seconds;

pub(super) const SECRET: &str = "Xo3rW9vKq27LhYtZ5bNfUeMd8JcGpAsQ1iTzRk4wBmE";

/// Reads a text as if it were `avouch.toml`, in an empty environment.
pub(super) fn load(text: &str) -> Result<Config, ConfigError> {
    Config::parse("avouch.toml", text, [])
}

/// Every case is refused, with exactly this line.
pub(super) fn refuses(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let error = load(text).map(|_| "accepted").unwrap_err().to_string();
        assert_eq!(error, format!("avouch.toml: {expected}"), "\n{text}");
    }
}

/// Every case is refused, with a line that holds this.
pub(super) fn refuses_with(before: &str, cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let error = load(&format!("{before}\n{text}")).map(|_| "accepted").unwrap_err().to_string();
        assert!(error.contains(expected), "{text}\n  gave {error}\n  not {expected}");
        assert!(!error.contains('\n'), "more than one line: {error}");
    }
}

/// Every case is read.
pub(super) fn accepts(before: &str, cases: &[&str]) {
    for text in cases {
        load(&format!("{before}\n{text}")).unwrap_or_else(|error| panic!("{text}\n  gave {error}"));
    }
}

fn with(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse("avouch.toml", text, environment)
}

#[test]
fn defaults() {
    let config = load("").unwrap();
    assert_eq!(config.issuer.as_str(), "http://localhost:4000");
    assert!(config.issuer_is_default);
    assert_eq!(config.listen.to_string(), "127.0.0.1:4000");
    assert!(matches!(&config.database, Database::Sqlite(path) if path == Path::new("data/avouch.db")));
    assert_eq!(config.keys_dir, PathBuf::from("keys"));
    assert_eq!(config.admin_token_file, PathBuf::from("keys/admin-token"));
    assert_eq!(config.cimd.client_name.as_str(), "Avouch");
    assert!(config.network.allow_private_addresses, "a developer's services are on loopback");
    assert!(config.network.allowed_networks.is_empty() && config.trusted_proxies.is_empty());
    assert!(config.users.is_empty() && config.clients.is_empty() && config.services.is_empty());
}

#[test]
fn private_addresses_are_for_development() {
    for (text, expected) in [
        ("", true),
        ("network.allow_private_addresses = false", false),
        ("listen = '0.0.0.0:4000'", false),
        ("issuer = 'http://localhost:4000'", false),
        ("issuer = 'http://localhost:4000'\nnetwork.allow_private_addresses = true", true),
        ("issuer = 'https://id.example'", false),
    ] {
        assert_eq!(load(text).unwrap().network.allow_private_addresses, expected, "{text}");
    }
}

#[test]
fn the_default_issuer_follows_the_port() {
    let mut config = load("listen = '127.0.0.1:5000'").unwrap();
    assert_eq!(config.issuer.as_str(), "http://localhost:5000");
    config.set_default_issuer(6000);
    assert_eq!(config.issuer.as_str(), "http://localhost:6000");
    let mut named = load("issuer = 'https://id.example'").unwrap();
    named.set_default_issuer(6000);
    assert_eq!(named.issuer.as_str(), "https://id.example");
    assert_eq!(load("listen = '127.0.0.1:0'").unwrap().issuer.as_str(), "http://localhost:4000");
}

#[test]
fn the_example_is_complete_and_works() {
    let config = Config::load(Some(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/avouch.toml")), []).unwrap();
    assert_eq!((config.users.len(), config.clients.len(), config.services.len()), (1, 1, 1));
    assert_eq!(config.services[0].policy.max_auth_age, Some(Seconds(3600)));
    assert_eq!(config.clients[0].policy.audiences, [config.services[0].audience.as_str()]);
    let shown = format!("{config:?}");
    assert!(!shown.contains("example-only") && !shown.contains("correct horse"), "{shown}");
}

#[test]
fn keys_nobody_knows_or_of_the_wrong_type() {
    refuses(&[
        ("isuer = 'x'", "isuer: unknown key; the nearest known one is `issuer`"),
        ("database_url_fil = 'x'", "database_url_fil: unknown key; the nearest known one is `database_url_file`"),
        ("[client]\nx = 1", "client: unknown key; the nearest known one is `clients`"),
        ("[keys]\ndirectory = 'x'", "keys.directory: unknown key; the nearest known one is `dir`"),
        ("[keys.rotation]\never = 1", "keys.rotation.ever: unknown key; the nearest known one is `interval`"),
        ("[admin]\ntoken = 'x'", "admin.token: unknown key; the nearest known one is `token_file`"),
        (
            "[network]\nallowed_network = []",
            "network.allowed_network: unknown key; the nearest known one is `allowed_networks`",
        ),
        ("[cimd]\ntos = 'x'", "cimd.tos: unknown key; the nearest known one is `tos_uri`"),
        ("[dynamic_clients]\nx = 1", "dynamic_clients.x: unknown key; the nearest known one is `audiences`"),
        ("[login]\nx = 1", "login.x: unknown key; the nearest known one is `upstream`"),
        (
            "[[clients]]\nclient_id = 'a'\nredirect_uri = 'x'",
            "clients[0].redirect_uri: unknown key; the nearest known one is `redirect_uris`",
        ),
        ("listen = 'a'\nissuer =", "line 2: string values must be quoted, expected literal string"),
        ("\"a\\nb\" = 1", "a\\nb: unknown key; the nearest known one is `log`"),
        ("listen = 4000", "listen: expected a text in quotes, found an integer"),
        ("issuer = ''", "issuer: it must not be empty"),
        (
            "trusted_proxies = '10.0.0.0/8'",
            "trusted_proxies: expected a list of texts that are not empty, found a text",
        ),
        ("trusted_proxies = [1]", "trusted_proxies: expected a list of texts that are not empty, found an integer"),
        ("trusted_proxies = ['']", "trusted_proxies: expected a list of texts that are not empty"),
        ("trusted_proxies = ['::1', '::1']", "trusted_proxies: \"::1\" is listed twice"),
        ("keys = 'keys'", "keys: expected a section of its own, found a text"),
        (
            "network.allow_private_addresses = 'true'",
            "network.allow_private_addresses: expected true or false, found a text",
        ),
        (
            "[users]\nemail = 'a@b'",
            "users: expected tables written as [[users]], which only the file can declare, found a table",
        ),
        (
            "users = [1]",
            "users: expected tables written as [[users]], which only the file can declare, found an integer",
        ),
    ]);
}

#[test]
fn what_a_later_version_builds_is_not_ignored() {
    let later = "this key is not supported yet";
    refuses(&[
        ("[login.upstream]\nissuer = 'https://a.example'", &format!("login.upstream: {later}")),
        (
            "[dynamic_clients]\naudiences = ['https://a.example']",
            "dynamic_clients.audiences: a list that is not empty is not supported yet",
        ),
    ]);
    accepts("", &["[dynamic_clients]\naudiences = []", "[keys.rotation]"]);
}

#[test]
fn top_level_values() {
    refuses_with(
        "",
        &[
            (
                "issuer = 'http://id.example'",
                "issuer: \"http://id.example\": it must be https (http only on a loopback host)",
            ),
            ("issuer = 'https://id.example/'", "trailing slash"),
            ("issuer = 'https://ID.example'", "\"https://ID.example\": browsers write it \"https://id.example\""),
            ("issuer = 'HTTPS://id.example:443'", "browsers write it \"https://id.example\"; write it so too"),
            ("issuer = 'http://localhost:80'", "browsers write it \"http://localhost\""),
            ("issuer = 'http://127.1:4000'", "browsers write it \"http://127.0.0.1:4000\""),
            ("issuer = 'http://[0:0::1]:4000'", "browsers write it \"http://[::1]:4000\""),
            ("listen = 'localhost:4000'", "listen: \"localhost:4000\" is not an IP address with a port"),
            ("database_url = 'mysql://a'", "database_url: it must begin with sqlite:// or postgres://"),
            ("database_url = 'sqlite::memory:'", "forgets every withdrawal"),
            ("database_url = 'sqlite://:memory:'", "forgets every withdrawal"),
            ("database_url = 'sqlite://'", "names no file"),
            ("database_url = 'sqlite://data/'", "names no file"),
            ("database_url = 'sqlite://a.db?mode=ro'", "takes no options"),
            ("database_url = 'postgres://a:b c@:x/'", "database_url: it is not a URL"),
            ("trusted_proxies = ['10.0.0.1/8']", "has bits set beyond its prefix; write 10.0.0.0/8"),
            ("trusted_proxies = ['proxy']", "is not a network in CIDR form"),
            ("network.allowed_networks = ['169.254.169.254']", "never allowed"),
            ("network.allowed_networks = ['0.0.0.0/0']", "never allowed"),
            ("network.allowed_networks = ['fe80::/64']", "never allowed"),
            ("network.allowed_networks = ['::ffff:10.0.0.0/104']", "never allowed"),
            (
                "issuer = 'https://id.example'\nnetwork.allow_private_addresses = true",
                "true only with a loopback issuer",
            ),
            (
                "issuer = 'https://id.example'\ncimd.logo_uri = 'http://a.example/'",
                "cimd.logo_uri: \"http://a.example/\" must be https",
            ),
            ("cimd.tos_uri = 'terms'", "cimd.tos_uri: \"terms\": it is not an absolute URL"),
            ("cimd.client_uri = 'ftp://a.example/'", "must be https"),
            ("cimd.policy_uri = 'https://a.example/#x'", "fragment"),
            ("cimd.client_name = ' '", "letter or a digit"),
            ("cimd.client_name = \"a\\u202eb\"", "changes the direction of text"),
        ],
    );
    accepts(
        "",
        &[
            "database_url = 'postgresql://avouch@db/avouch'",
            "trusted_proxies = ['10.0.0.0/8', '::1']",
            "network.allowed_networks = ['10.20.0.0/16', 'fd00::/8']",
            "cimd.logo_uri = 'http://localhost:4000/logo.png'",
            "issuer = 'https://id.example'\ncimd.logo_uri = 'https://cdn.example/logo.png'",
        ],
    );
    let config = load("database_url = 'sqlite:///var/lib/a.db'\nkeys.dir = '/k'").unwrap();
    assert!(matches!(&config.database, Database::Sqlite(path) if path == Path::new("/var/lib/a.db")));
    assert_eq!(config.admin_token_file, PathBuf::from("/k/admin-token"));
}

#[test]
fn variables_win_over_the_file() {
    let config = with("issuer = 'https://file.example'\ndatabase_url = 'sqlite://file.db'\n[network]\nallowed_networks = ['10.0.0.0/8']", &[
        ("AVOUCH__ISSUER", "https://env.example"),
        ("AVOUCH__NETWORK__ALLOWED_NETWORKS", "192.168.0.0/16, fd00::/8"),
        ("AVOUCH__NETWORK__ALLOW_PRIVATE_ADDRESSES", "false"),
        ("AVOUCH__TRUSTED_PROXIES", r#"["10.0.0.0/8"]"#),
        ("AVOUCH__DATABASE_URL", "postgres://avouch:hunter2@db/avouch"),
        ("AVOUCH__KEYS__DIR", "/run/keys"),
        ("AVOUCH__ADMIN__TOKEN_FILE", "/run/token"),
        ("AVOUCH__CIMD__CLIENT_NAME", "Desk"),
        ("AVOUCH_ISSUER", "not ours"),
        ("HOME", "/nowhere"),
    ])
    .unwrap();
    assert_eq!(config.issuer.as_str(), "https://env.example");
    assert_eq!(config.network.allowed_networks.len(), 2);
    assert_eq!(config.trusted_proxies.len(), 1);
    assert_eq!(config.keys_dir, PathBuf::from("/run/keys"));
    assert_eq!(config.admin_token_file, PathBuf::from("/run/token"));
    assert_eq!(config.cimd.client_name.as_str(), "Desk");
    assert!(matches!(&config.database, Database::Postgres(url) if url.expose().contains("hunter2")));
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(with("trusted_proxies = ['::1']", &[("AVOUCH__TRUSTED_PROXIES", "")]).unwrap().trusted_proxies.is_empty());
}

#[test]
fn variables_are_as_strict_as_the_file() {
    for (name, value, expected) in [
        ("AVOUCH__ISUER", "x", "AVOUCH__ISUER: unknown variable; the nearest known one is AVOUCH__ISSUER"),
        ("AVOUCH__KEYS__DIRS", "x", "AVOUCH__KEYS__DIRS: unknown variable; the nearest known one is AVOUCH__KEYS__DIR"),
        ("AVOUCH__NETWROK__X", "x", "AVOUCH__NETWROK__X: unknown variable; the nearest known one is AVOUCH__NETWORK"),
        ("AVOUCH__", "x", "AVOUCH__: unknown variable; the nearest known one is"),
        ("AVOUCH__issuer", "x", "AVOUCH__issuer: variable names are written in capitals"),
        ("AVOUCH__LISTEN__PORT", "1", "AVOUCH__LISTEN__PORT: unknown variable: it names a key inside something"),
        ("AVOUCH__ISSUER__X", "1", "AVOUCH__ISSUER__X: expected a text in quotes"),
        ("AVOUCH__KEYS", "x", "AVOUCH__KEYS: expected a section of its own"),
        ("AVOUCH__CLIENTS__0__CLIENT_ID", "x", "which only the file can declare"),
        ("AVOUCH__KEYS__ROTATION__INTERVAL", "1w", "AVOUCH__KEYS__ROTATION__INTERVAL: \"1w\" is not a duration"),
        ("AVOUCH__NETWORK__ALLOW_PRIVATE_ADDRESSES", "yes", "expected true or false"),
        ("AVOUCH__TRUSTED_PROXIES", "::1,", "expected a list of texts that are not empty"),
        ("AVOUCH__TRUSTED_PROXIES", "['::1']\nx = 1", "expected a list of texts that are not empty"),
        ("AVOUCH__DATABASE_URL", "hunter2", "AVOUCH__DATABASE_URL: it must begin with sqlite:// or postgres://"),
        ("AVOUCH__ISSUER", "", "AVOUCH__ISSUER: it must not be empty"),
    ] {
        let error = with("listen = '127.0.0.1:4000'", &[(name, value)]).map(|_| "accepted").unwrap_err().to_string();
        assert!(error.contains(expected) && error.starts_with(name), "{name}={value}\n  gave {error}");
        assert!(!error.contains("hunter2") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn the_file_itself() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none.toml");
    assert!(Config::load(Some(&missing), []).unwrap_err().to_string().contains("cannot be read"));
    let file = folder.path().join("avouch.toml");
    std::fs::write(&file, "issuer = 'https://id.example'\n[[clients]]\nclient_secret = \"hunter2\" hunter2\n").unwrap();
    let error = Config::load(Some(&file), []).unwrap_err().to_string();
    assert!(error.contains("line 3: ") && !error.contains("hunter2") && !error.contains('\n'), "{error}");
    std::fs::write(&file, " ".repeat(1024 * 1024 + 1)).unwrap();
    assert!(Config::load(Some(&file), []).unwrap_err().to_string().contains("longer than 1048576 bytes"));
    std::fs::write(&file, [0xff]).unwrap();
    assert!(Config::load(Some(&file), []).unwrap_err().to_string().contains("cannot be read"));
    assert!(super::read_file(&missing, false).unwrap().is_empty(), "the default file may be missing");
}

#[cfg(unix)]
#[test]
fn only_our_variables_must_be_utf_8() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;
    let pair = |name: &str, value: &[u8]| (OsString::from(name), OsString::from_vec(value.to_vec()));
    let ours = super::variables([pair("AVOUCH__ISSUER", b"x"), pair("LANG", &[0xff])]).unwrap();
    assert_eq!(ours, [("AVOUCH__ISSUER".to_owned(), "x".to_owned())]);
    let error = super::variables([pair("AVOUCH__ISSUER", &[0xff])]).unwrap_err().to_string();
    assert_eq!(error, "AVOUCH__ISSUER: the variable is not UTF-8");
}
