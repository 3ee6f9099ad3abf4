//! `avouch user …`: whom an issuer vouches for.

use std::io::{IsTerminal as _, Read as _};

use clap::Subcommand;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Failure;
use super::common::{self, Common};
use crate::domain::administered::AdministeredUser;
use crate::domain::ids::Subject;
use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::flow::{administer, register};
use crate::passwords::hash_password;
use crate::rng::Rng;
use crate::secret::{Secret, same};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Ask for a password, or read it from standard input, and print its hash for `password_hash` in the configuration
    #[command(after_help = super::help!("avouch user hash-password < password.txt"))]
    HashPassword,
    /// Add a user, as the configuration would declare them
    #[command(after_help = super::help!("avouch user add alice@example.com --name Alice --email-verified --password", "Without --password or --password-hash nobody signs in as them by a password. What was added here stays whatever the configuration declares."))]
    Add {
        /// Their e-mail address
        email: String,
        /// Their name
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// You vouch for the address
        #[arg(long)]
        email_verified: bool,
        /// Their phone number, such as +15550100
        #[arg(long, value_name = "NUMBER")]
        phone: Option<String>,
        /// You vouch for the number
        #[arg(long, requires = "phone")]
        phone_verified: bool,
        /// Ask for their password, or read it from standard input
        #[arg(long)]
        password: bool,
        /// The hash of their password, as `avouch user hash-password` prints it
        #[arg(long, value_name = "HASH", conflicts_with = "password")]
        password_hash: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// List the users
    #[command(after_help = super::help!("avouch user list --issuer acme --json"))]
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Show one user
    #[command(after_help = super::help!("avouch user show alice@example.com"))]
    Show {
        /// Their e-mail address, or their `sub`
        #[arg(allow_hyphen_values = true)]
        user: String,
        #[command(flatten)]
        common: Common,
    },
    /// Disable a user: they are signed out everywhere, and what they agreed to is withdrawn
    #[command(after_help = super::help!("avouch user disable alice@example.com", "That holds until they are enabled again, whatever the configuration declares. The withdrawal is done by a running server, or by the next."))]
    Disable {
        /// Their e-mail address, or their `sub`
        #[arg(allow_hyphen_values = true)]
        user: String,
        #[command(flatten)]
        common: Common,
    },
    /// Enable a disabled user again: nothing that they had agreed to comes back
    #[command(after_help = super::help!("avouch user enable alice@example.com"))]
    Enable {
        /// Their e-mail address, or their `sub`
        #[arg(allow_hyphen_values = true)]
        user: String,
        #[command(flatten)]
        common: Common,
    },
}

/// Rows that are read at a time.
const PAGE: i64 = 200;

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::HashPassword => hash(),
        Command::Add { email, name, email_verified, phone, phone_verified, password, password_hash, common } => {
            let password = if password { Some(typed()?) } else { None };
            let members = json!({
                "email": email, "name": name, "email_verified": email_verified, "phone_number": phone,
                "phone_number_verified": phone_verified, "password": password.as_ref().map(Secret::expose),
                "password_hash": password_hash,
            });
            let app = common.app().await?;
            let row = register::add_user(&app, common::given(members)).await.map_err(|e| failed(&email, &e))?;
            print(&row, &common);
            Ok(())
        }
        Command::List { common } => list(&common).await,
        Command::Show { user, common } => one(&user, None, &common).await,
        Command::Disable { user, common } => one(&user, Some(true), &common).await,
        Command::Enable { user, common } => one(&user, Some(false), &common).await,
    }
}

async fn list(common: &Common) -> Result<(), Failure> {
    let app = common.app().await?;
    let (mut after, mut items) = (None::<String>, Vec::new());
    loop {
        let rows = administer::users(&app, after.as_deref(), PAGE).await.map_err(|e| failed("list", &e))?;
        let Some(last) = rows.last() else { break };
        after = Some(last.account.sub.as_str().to_owned());
        for row in &rows {
            if common.json {
                items.push(item(row));
            } else {
                out!("{:<11} {:<44} {}", row.state.standing().as_str(), row.account.sub.as_str(), row.account.email);
            }
        }
    }
    if common.json {
        out!("{}", json!({ "items": items }));
    }
    Ok(())
}

async fn one(user: &str, disabled: Option<bool>, common: &Common) -> Result<(), Failure> {
    let app = common.app().await?;
    // No `sub` has an @.
    let sub = if user.contains('@') {
        let found = administer::user_by_email(&app, user).await.map_err(|e| failed(user, &e))?;
        found.ok_or_else(|| failed(user, &Refusal::NotFound.into()))?.account.sub
    } else {
        Subject::try_from(user.to_owned()).map_err(|e| Failure::Usage(format!("{user}: {e}")))?
    };
    let change = common::given(json!({ "disabled": disabled }));
    let row = register::change_user(&app, &sub, change).await.map_err(|e| failed(user, &e))?;
    print(&row, common);
    Ok(())
}

fn print(row: &AdministeredUser, common: &Common) {
    if common.json {
        out!("{}", item(row));
        return;
    }
    let account = &row.account;
    let verified = |is: bool| if is { " (verified)" } else { "" };
    out!("{}", account.email);
    out!("  {:<8} {}", "sub", account.sub.as_str());
    out!("  {:<8} {}", "name", account.name.as_deref().unwrap_or("-"));
    out!("  {:<8} {}{}", "e-mail", account.email, verified(account.email_verified));
    out!("  {:<8} {}{}", "phone", account.phone_number.as_deref().unwrap_or("-"), verified(account.phone_verified));
    out!("  {:<8} {}", "status", common::stands(&row.state));
}

fn item(row: &AdministeredUser) -> Value {
    let account = &row.account;
    let item = json!({
        "sub": account.sub, "email": account.email, "email_verified": account.email_verified, "name": account.name,
        "phone_number": account.phone_number, "phone_number_verified": account.phone_verified,
    });
    common::state(item, &row.state)
}

fn failed(user: &str, error: &Error) -> Failure {
    common::failed(user, "user", error)
}

fn hash() -> Result<(), Failure> {
    let password = typed()?;
    let hash = hash_password(&password, &Rng::Os.bytes()).map_err(|e| Failure::Usage(e.to_string()))?;
    out!("{hash}");
    Ok(())
}

fn typed() -> Result<Secret, Failure> {
    let password = if std::io::stdin().is_terminal() { ask()? } else { read()? };
    if password.expose().is_empty() {
        return Err(Failure::Usage("there is no password".into()));
    }
    Ok(password)
}

/// Twice, since nothing is shown while it is typed.
fn ask() -> Result<Secret, Failure> {
    let ask = |prompt: &str| {
        let typed = rpassword::prompt_password(prompt);
        typed.map(Secret::new).map_err(|e| Failure::Unable(format!("the terminal cannot be read: {e}")))
    };
    let password = ask("Password: ")?;
    if same(password.expose(), ask("Again: ")?.expose()) {
        return Ok(password);
    }
    Err(Failure::Usage("the two differ".into()))
}

fn read() -> Result<Secret, Failure> {
    let mut text = Zeroizing::new(String::new());
    let read = std::io::stdin().take(4096).read_to_string(&mut text);
    read.map_err(|e| Failure::Unable(format!("standard input cannot be read: {e}")))?;
    Ok(Secret::new(text.trim_end_matches(['\n', '\r'])))
}
