//! `avouch client …`: the agents that an issuer knows.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Failure;
use super::common::{self, Common};
use crate::domain::administered::AdministeredClient;
use crate::domain::client_metadata::AuthMethod;
use crate::domain::ids::ClientId;
use crate::error::Error;
use crate::flow::{administer, register};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Add a client, as the configuration would declare it; with --secret its secret is printed, once
    #[command(after_help = super::help!("avouch client add desk-agent --name \"Desk Agent\" --secret --redirect-uri https://agent.example/cb --grant authorization_code --grant refresh_token --grant urn:ietf:params:oauth:grant-type:token-exchange --audience https://auth.service.example", "With neither --secret nor --secret-hash nor --jwks it is a public client. What was added here stays whatever the configuration declares."))]
    Add(Box<New>),
    /// List the clients
    #[command(after_help = super::help!("avouch client list --issuer acme --json"))]
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Show one client
    #[command(after_help = super::help!("avouch client show desk-agent"))]
    Show {
        /// Its `client_id`
        #[arg(allow_hyphen_values = true)]
        client_id: String,
        #[command(flatten)]
        common: Common,
    },
    /// Disable a client: what users gave it ends, at services as well
    #[command(after_help = super::help!("avouch client disable desk-agent", "That holds until it is enabled again, whatever the configuration declares. The withdrawal is done by a running server, or by the next."))]
    Disable {
        /// Its `client_id`
        #[arg(allow_hyphen_values = true)]
        client_id: String,
        #[command(flatten)]
        common: Common,
    },
    /// Enable a disabled client again: users are asked anew
    #[command(after_help = super::help!("avouch client enable desk-agent"))]
    Enable {
        /// Its `client_id`
        #[arg(allow_hyphen_values = true)]
        client_id: String,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Args)]
pub(super) struct New {
    /// Its `client_id`
    client_id: String,
    /// The name that users see
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Make a secret for it
    #[arg(long, conflicts_with_all = ["secret_hash", "jwks"])]
    secret: bool,
    /// SHA-256 of its secret in base64url
    #[arg(long, value_name = "HASH", conflicts_with = "jwks")]
    secret_hash: Option<String>,
    /// A file with its public keys, for `private_key_jwt`
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// Where it may be answered; more than once for more than one
    #[arg(long, value_name = "URI")]
    redirect_uri: Vec<String>,
    /// What it may ask the token endpoint for [default: authorization_code]
    #[arg(long, value_name = "GRANT")]
    grant: Vec<String>,
    /// A service that it may ask for, or * for any
    #[arg(long, value_name = "AUDIENCE")]
    audience: Vec<String>,
    /// Where it is told that a user signed out
    #[arg(long, value_name = "URI")]
    backchannel_logout_uri: Option<String>,
    /// What its ID tokens are signed with [default: ES256]
    #[arg(long, value_name = "ALG")]
    signing_alg: Option<String>,
    /// It is the platform's own: users are not asked whether it may sign them in
    #[arg(long)]
    first_party: bool,
    #[command(flatten)]
    common: Common,
}

/// Rows that are read at a time.
const PAGE: i64 = 200;

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Add(new) => add(&new).await,
        Command::List { common } => list(&common).await,
        Command::Show { client_id, common } => one(&client_id, None, &common).await,
        Command::Disable { client_id, common } => one(&client_id, Some(true), &common).await,
        Command::Enable { client_id, common } => one(&client_id, Some(false), &common).await,
    }
}

async fn add(new: &New) -> Result<(), Failure> {
    let many = |list: &[String]| if list.is_empty() { Value::Null } else { json!(list) };
    let jwks = new.jwks.as_ref().map(|file| {
        let unable = |e: std::io::Error| Failure::Usage(format!("--jwks {}: {e}", file.display()));
        std::fs::read_to_string(file).map_err(unable)
    });
    let method = if new.secret { Some(AuthMethod::SecretBasic) } else { None };
    let members = json!({
        "client_id": new.client_id, "client_name": new.name, "token_endpoint_auth_method": method,
        "client_secret_hash": new.secret_hash, "jwks": jwks.transpose()?, "redirect_uris": many(&new.redirect_uri),
        "grant_types": many(&new.grant), "audiences": many(&new.audience),
        "backchannel_logout_uri": new.backchannel_logout_uri, "id_token_signed_response_alg": new.signing_alg,
        "first_party": new.first_party.then_some(true),
    });
    let app = new.common.app().await?;
    let added = register::add_client(&app, common::given(members)).await;
    let (row, secret) = added.map_err(|e| failed(&new.client_id, &e))?;
    if new.common.json {
        let mut item = item(&row);
        if let Some(secret) = &secret {
            item["client_secret"] = secret.expose().into();
        }
        out!("{item}");
        return Ok(());
    }
    print(&row, &new.common);
    if let Some(secret) = &secret {
        out!("  {:<14} {}", "client_secret", secret.expose());
        say!("Nobody can read the secret a second time.");
    }
    Ok(())
}

async fn list(common: &Common) -> Result<(), Failure> {
    let app = common.app().await?;
    let (mut after, mut items) = (None::<String>, Vec::new());
    loop {
        let rows = administer::clients(&app, after.as_deref(), PAGE).await.map_err(|e| failed("list", &e))?;
        let Some(last) = rows.last() else { break };
        after = Some(last.client.client_id.to_string());
        for row in &rows {
            if common.json {
                items.push(item(row));
            } else {
                let name = row.client.metadata.client_name.as_ref().map(ToString::to_string).unwrap_or_default();
                out!("{:<11} {:<40} {name}", row.state.standing().as_str(), row.client.client_id);
            }
        }
    }
    if common.json {
        out!("{}", json!({ "items": items }));
    }
    Ok(())
}

async fn one(client_id: &str, disabled: Option<bool>, common: &Common) -> Result<(), Failure> {
    let app = common.app().await?;
    let id = ClientId::try_from(client_id.to_owned()).map_err(|e| Failure::Usage(format!("{client_id}: {e}")))?;
    let change = common::given(json!({ "disabled": disabled }));
    let (row, _) = register::change_client(&app, &id, change).await.map_err(|e| failed(client_id, &e))?;
    print(&row, common);
    Ok(())
}

fn print(row: &AdministeredClient, common: &Common) {
    if common.json {
        out!("{}", item(row));
        return;
    }
    let metadata = &row.client.metadata;
    out!("{}", row.client.client_id);
    out!("  {:<14} {}", "name", metadata.client_name.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string));
    out!("  {:<14} {}", "status", common::stands(&row.state));
    out!("  {:<14} {}", "authenticates", metadata.token_endpoint_auth_method.as_str());
    out!("  {:<14} {}", "audiences", row.client.policy.audiences.join(", "));
}

fn item(row: &AdministeredClient) -> Value {
    let (client, metadata) = (&row.client, &row.client.metadata);
    let item = json!({
        "client_id": client.client_id, "client_name": metadata.client_name,
        "token_endpoint_auth_method": metadata.token_endpoint_auth_method, "redirect_uris": metadata.redirect_uris,
        "grant_types": metadata.grant_types, "backchannel_logout_uri": metadata.backchannel_logout_uri,
        "post_logout_redirect_uris": metadata.post_logout_redirect_uris,
        "audiences": client.policy.audiences, "first_party": client.policy.first_party,
    });
    common::state(item, &row.state)
}

fn failed(client_id: &str, error: &Error) -> Failure {
    common::failed(client_id, "client", error)
}
