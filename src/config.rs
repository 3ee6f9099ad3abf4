//! The configuration: one struct, from `avouch.toml` and the environment. Everything is parsed once, here, and nothing is ignored.
//!
//! - Every key but arrays of tables can also be a variable, `AVOUCH__SECTION__KEY`, which wins over the file. Lists are
//!   separated by commas or written as in TOML. `AVOUCH_` with a single underscore is not ours; a warning names what was meant.
//! - Every secret can also be a file, `<key>_file`, which not every user of the machine may change; that they can read it is a warning.
//! - An unknown key or variable is an error, and so is a key of the contract that this version does not build yet.
//! - Relative paths are relative to the directory the server is started in.

use std::ffi::OsString;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use toml::Table;
use zeroize::Zeroizing;

use crate::domain::client::ClientPolicy;
use crate::domain::client_metadata::ClientMetadata;
use crate::domain::display_name::DisplayName;
use crate::domain::ids::ClientId;
use crate::domain::ids::{Audience, IssuerUrl};
use crate::domain::issuer::IssuerId;
use crate::domain::members::quote;
use crate::domain::profile::Profile;
use crate::domain::rotation::Rotation;
use crate::domain::service_policy::ServicePolicy;
use crate::domain::spelling::printable;
use crate::secret::{Secret, same};
pub use grants::Grants;
use issuers::Homes;
pub use issuers::{Declared, IssuerDecl};
pub use keys::{Pkcs11, SealingCommands};
pub use log::{Log, LogFormat, LogLevel};
pub use notices::Notices;
use section::{NEARLY_PREFIX, PREFIX, Section, Source};
pub(crate) use users::password_hash;

mod clients;
mod grants;
mod issuers;
mod keys;
mod log;
mod notices;
mod section;
mod services;
mod spellings;
/// The cluster that `tests/run` starts.
#[cfg(test)]
pub(crate) fn postgresql_for_tests() -> String {
    let variable = std::env::vars().find(|(name, _)| name == "AVOUCH_TEST_POSTGRES");
    variable.expect("AVOUCH_TEST_POSTGRES names a PostgreSQL cluster: run tests/run").1
}

#[cfg(test)]
mod tests;
mod users;
mod values;

/// A variable that is not ours but every program's on a terminal, such as `NO_COLOR`; an empty one is none.
#[must_use]
pub fn shell_variable(name: &str) -> Option<OsString> {
    std::env::vars_os().find(|(is, value)| is == name && !value.is_empty()).map(|(_, value)| value)
}

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "avouch.toml";
/// Most bytes of the file.
const MAX_FILE: u64 = 1024 * 1024;
const DEFAULT_ISSUER: &str = "http://localhost:4000";

/// Why the configuration cannot be used: one line that says where, which key, what is wrong and what would be right.
/// It never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConfigError {
    place: String,
    problem: String,
}

impl ConfigError {
    fn new(place: &str, problem: impl std::fmt::Display) -> Self {
        Self { place: place.to_owned(), problem: problem.to_string() }
    }
}

/// Everything an operator can decide.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who this server is. https unless loopback.
    pub issuer: IssuerUrl,
    /// Nobody named an issuer: [`Config::set_default_issuer`] may still change it.
    pub issuer_is_default: bool,
    /// Where to listen; port 0 asks the system for a free one.
    pub listen: SocketAddr,
    /// Where everything is stored.
    pub database: Database,
    /// Proxies whose `X-Forwarded-For` and `Forwarded` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Where the sealing key lives.
    pub keys_dir: PathBuf,
    /// Programs that print it instead.
    pub sealing_commands: SealingCommands,
    /// Where signing keys are made, if not here.
    pub pkcs11: Option<Pkcs11>,
    /// How signing keys rotate.
    pub rotation: Rotation,
    /// Where the administrator's token lives; made at first start.
    pub admin_token_file: PathBuf,
    /// The log.
    pub log: Log,
    /// What the token endpoint takes.
    pub grants: Grants,
    /// How services are told.
    pub notices: Notices,
    /// What outbound requests may reach.
    pub network: Network,
    /// What our own Client ID Metadata Document says about us.
    pub cimd: Cimd,
    /// Further issuers, each id once.
    pub issuers: Vec<IssuerDecl>,
    /// What works, and should be set right all the same: each one line, without a secret.
    pub warnings: Vec<String>,
    /// Declared users, each e-mail once in its issuer.
    pub users: Vec<UserDecl>,
    /// Declared clients, each `client_id` once in its issuer.
    pub clients: Vec<ClientDecl>,
    /// Declared services, each audience once in its issuer.
    pub services: Vec<ServiceDecl>,
}

/// Where everything is stored.
#[derive(Debug, Clone)]
pub enum Database {
    /// A SQLite file: `sqlite://data/avouch.db`, or `sqlite:///var/lib/avouch.db` for an absolute path.
    Sqlite(PathBuf),
    /// A PostgreSQL URL, as given; it may hold a password.
    Postgres(Secret),
}

impl PartialEq for Database {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sqlite(a), Self::Sqlite(b)) => a == b,
            (Self::Postgres(a), Self::Postgres(b)) => same(a.expose(), b.expose()),
            _ => false,
        }
    }
}

/// What outbound requests may reach besides public addresses.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Loopback and private ranges too. Only with a loopback issuer, so never in production.
    ///
    /// Off unless set, with one exception: when nobody named an issuer and the server listens on loopback, this is a
    /// developer's machine, whose services on loopback are to be notified, and it is on.
    pub allow_private_addresses: bool,
    /// Networks of an intranet; never link-local.
    pub allowed_networks: Vec<IpNet>,
}

/// What our own Client ID Metadata Document says about us. URLs are https, or http with a loopback issuer.
#[derive(Debug, Clone)]
pub struct Cimd {
    /// The name that services show; "Avouch" unless set.
    pub client_name: DisplayName,
    /// The home page.
    pub client_uri: Option<String>,
    /// The logo.
    pub logo_uri: Option<String>,
    /// The terms of service.
    pub tos_uri: Option<String>,
    /// The privacy policy.
    pub policy_uri: Option<String>,
}

/// A user declared in the file.
#[derive(Debug, Clone)]
pub struct UserDecl {
    /// Whose it is; none: the default issuer's.
    pub issuer: Option<IssuerId>,
    /// What is known of them.
    pub profile: Profile,
    /// How the user signs in; none: not by password.
    pub password: Option<Password>,
}

/// A declared user's password.
#[derive(Debug, Clone)]
pub enum Password {
    /// As typed. Only with a loopback issuer.
    Plain(Secret),
    /// A PHC string: argon2id, version 19, with parameters that are neither too cheap nor too dear.
    Hash(Secret),
}

/// A client declared in the file.
#[derive(Debug, Clone)]
pub struct ClientDecl {
    /// Whose it is; none: the default issuer's.
    pub issuer: Option<IssuerId>,
    /// At most 255 characters; never looks like a URL.
    pub client_id: ClientId,
    /// What it says about itself.
    pub metadata: ClientMetadata,
    /// What it is allowed.
    pub policy: ClientPolicy,
    /// At least 32 random bytes, if it authenticates by one.
    pub secret: Option<Secret>,
}

/// A relying service declared in the file.
#[derive(Debug, Clone)]
pub struct ServiceDecl {
    /// Whose it is; none: the default issuer's.
    pub issuer: Option<IssuerId>,
    /// Byte for byte the assertion's `aud`.
    pub audience: Audience,
    /// What is known of it.
    pub policy: ServicePolicy,
}

impl Config {
    /// Reads the configuration from a file and the given environment, of which only `AVOUCH__…` is looked at.
    /// Without a file it is `avouch.toml` in the current directory if there is one, else the defaults.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let path = file.unwrap_or(Path::new(DEFAULT_FILE));
        let name = printable(&path.display().to_string());
        let text = read_file(path, file.is_some()).map_err(|problem| ConfigError::new(&name, problem))?;
        Self::parse(&name, &text, environment)
    }

    /// The variables of this process that are ours: the one place that reads its environment.
    ///
    /// # Errors
    /// When one of ours is not UTF-8.
    pub fn environment() -> Result<Vec<(String, String)>, ConfigError> {
        variables(std::env::vars_os())
    }

    /// Sets the issuer to `http://localhost:<port>` once the port is bound, if nobody named one; else does nothing.
    ///
    /// # Panics
    /// Never: every port makes an issuer.
    pub fn set_default_issuer(&mut self, port: u16) {
        if self.issuer_is_default {
            self.issuer =
                IssuerUrl::parse(&format!("http://localhost:{port}")).expect("localhost with a port is an issuer");
        }
    }

    fn parse(
        name: &str,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        // The parser's own rendering quotes the line, which may hold a secret; its message alone does not.
        let mut table: Table = text.parse().map_err(|error: toml::de::Error| {
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.get(..at).unwrap_or_default().matches('\n').count() + 1;
            ConfigError::new(name, format!("line {line}: {}", printable(error.message())))
        })?;
        let source = Source::merge(name, &mut table, environment)?;
        let mut config = Self::read(Section::root(&source, table))?;
        config.warnings = source.warnings();
        config.warnings.extend(spellings::warnings(&config.clients, &config.services));
        Ok(config)
    }

    fn read(mut root: Section<'_>) -> Result<Self, ConfigError> {
        let issuer = root.text("issuer")?;
        let listen = root.text("listen")?;
        let database = root.secret("database_url")?;
        let proxies = root.list("trusted_proxies")?;
        let (keys, admin, log) = (root.section("keys")?, root.section("admin")?, root.section("log")?);
        let (network, cimd, grants) = (root.section("network")?, root.section("cimd")?, root.section("grants")?);
        let notices = root.section("notices")?;
        let (dynamic, login) = (root.section("dynamic_clients")?, root.section("login")?);
        let (users, clients, services) = (root.tables("users")?, root.tables("clients")?, root.tables("services")?);
        let issuers = root.tables("issuers")?;
        root.finish()?;

        let listen = values::listen(listen.as_deref().unwrap_or("127.0.0.1:4000"))
            .map_err(|problem| root.wrong("listen", problem))?;
        let issuer_is_default = issuer.is_none();
        let issuer = parse_issuer(&root, issuer.as_deref().unwrap_or(DEFAULT_ISSUER))?;
        let database = match database {
            Some(url) => values::database(&url).map_err(|problem| root.wrong("database_url", problem))?,
            None => Database::Sqlite(PathBuf::from("data/avouch.db")),
        };
        let keys = keys::read(keys)?;
        let admin_token_file = token_file(admin, &keys.dir)?;
        refuse_later_sections(dynamic, login)?;
        let developing = issuer_is_default && listen.ip().is_loopback();
        let issuers = issuers::read(issuers)?;
        let homes = Homes { default: &issuer, issuers: &issuers };
        let mut config = Self {
            trusted_proxies: networks(&root, "trusted_proxies", proxies, values::network)?,
            log: log::read(log)?,
            grants: grants::read(grants)?,
            notices: notices::read(notices)?,
            network: read_network(network, &issuer, developing)?,
            cimd: read_cimd(cimd, &issuer)?,
            users: users::read(users, &homes)?,
            clients: clients::read(clients, &homes)?,
            services: services::read(services, &homes)?,
            warnings: Vec::new(),
            issuers,
            issuer,
            issuer_is_default,
            listen,
            database,
            keys_dir: keys.dir,
            sealing_commands: keys.sealing_commands,
            pkcs11: keys.pkcs11,
            rotation: keys.rotation,
            admin_token_file,
        };
        if listen.port() != 0 {
            config.set_default_issuer(listen.port());
        }
        Ok(config)
    }
}

fn read_file(path: &Path, named: bool) -> Result<Zeroizing<String>, String> {
    let mut text = Zeroizing::new(String::new());
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => return Ok(text),
        opened => opened.map_err(|error| format!("cannot be read: {error}"))?,
    };
    let read = file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(|error| format!("cannot be read: {error}"))?;
    if read as u64 > MAX_FILE {
        return Err(format!("it is longer than {MAX_FILE} bytes"));
    }
    Ok(text)
}

fn variables(all: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Vec<(String, String)>, ConfigError> {
    let ours = all.into_iter().filter(|(name, _)| name.as_encoded_bytes().starts_with(NEARLY_PREFIX.as_bytes()));
    ours.map(|(name, value)| {
        let shown = printable(&name.to_string_lossy());
        if !name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            // Somebody else's, whatever it says; its name may be a slip.
            return Ok((name.to_string_lossy().into_owned(), String::new()));
        }
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => Ok((name, value)),
            _ => Err(ConfigError::new(&shown, "the variable is not UTF-8")),
        }
    })
    .collect()
}

fn parse_issuer(root: &Section<'_>, text: &str) -> Result<IssuerUrl, ConfigError> {
    let issuer =
        IssuerUrl::parse(text).map_err(|problem| root.wrong("issuer", format!("{}: {problem}", quote(text))))?;
    if issuer.is_of_lab() {
        let problem = "it is a lab's name, whose assertions are for tests";
        return Err(root.wrong("issuer", format!("{}: {problem}", quote(text))));
    }
    if !issuer.base().is_empty() {
        let problem = "the default issuer sits at the root of its origin; one with a path is declared in [[issuers]]";
        return Err(root.wrong("issuer", format!("{}: {problem}", quote(text))));
    }
    // What browsers send with our forms is compared with it byte by byte (RFC 6454 section 6.2).
    let origin = issuer.serialized_origin();
    if issuer.as_str() != origin {
        return Err(
            root.wrong("issuer", format!("{}: browsers write it {}; write it so too", quote(text), quote(&origin)))
        );
    }
    Ok(issuer)
}

fn token_file(mut admin: Section<'_>, keys_dir: &Path) -> Result<PathBuf, ConfigError> {
    let file = admin.text("token_file")?;
    admin.finish()?;
    Ok(file.map_or_else(|| keys_dir.join("admin-token"), PathBuf::from))
}

fn refuse_later_sections(mut dynamic: Section<'_>, mut login: Section<'_>) -> Result<(), ConfigError> {
    let audiences = dynamic.list("audiences")?.unwrap_or_default();
    dynamic.finish()?;
    if !audiences.is_empty() {
        return Err(dynamic.wrong("audiences", "a list that is not empty is not supported yet"));
    }
    login.later("upstream")?;
    login.finish()
}

fn networks(
    section: &Section<'_>,
    key: &str,
    texts: Option<Vec<String>>,
    parse: impl Fn(&str) -> Result<IpNet, String>,
) -> Result<Vec<IpNet>, ConfigError> {
    let parsed = texts.unwrap_or_default().into_iter().map(|text| parse(&text)).collect::<Result<_, _>>();
    parsed.map_err(|problem| section.wrong(key, problem))
}

fn read_network(mut section: Section<'_>, issuer: &IssuerUrl, developing: bool) -> Result<Network, ConfigError> {
    let private = section.flag("allow_private_addresses")?;
    let allowed = section.list("allowed_networks")?;
    section.finish()?;
    if private == Some(true) && !issuer.is_loopback() {
        return Err(section.wrong(
            "allow_private_addresses",
            "true only with a loopback issuer; in production name the networks in allowed_networks",
        ));
    }
    Ok(Network {
        allow_private_addresses: private.unwrap_or(developing),
        allowed_networks: networks(&section, "allowed_networks", allowed, values::outbound_network)?,
    })
}

fn read_cimd(mut section: Section<'_>, issuer: &IssuerUrl) -> Result<Cimd, ConfigError> {
    let client_name = section.display_name("client_name")?;
    let mut uris = [None, None, None, None];
    let keys = ["client_uri", "logo_uri", "tos_uri", "policy_uri"];
    for (uri, key) in uris.iter_mut().zip(keys) {
        *uri = section.text(key)?;
    }
    section.finish()?;
    for (uri, key) in uris.iter().zip(keys) {
        section.checked(key, uri.clone(), |text| values::public_url(text, issuer.is_loopback()))?;
    }
    let [client_uri, logo_uri, tos_uri, policy_uri] = uris;
    let client_name = client_name.map_or_else(|| DisplayName::parse("Avouch"), Ok);
    let client_name = client_name.map_err(|problem| section.wrong("client_name", problem))?;
    Ok(Cimd { client_name, client_uri, logo_uri, tos_uri, policy_uri })
}
