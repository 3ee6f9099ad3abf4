//! `avouch client …`: the agents that an issuer knows.

use clap::Subcommand;
use serde_json::{Value, json};

use super::Failure;
use super::common::{self, Common};
use crate::domain::administered::AdministeredClient;
use crate::domain::ids::ClientId;
use crate::error::Error;
use crate::flow::administer;

#[derive(Subcommand)]
pub(super) enum Command {
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

/// Rows that are read at a time.
const PAGE: i64 = 200;

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { common } => list(&common).await,
        Command::Show { client_id, common } => one(&client_id, None, &common).await,
        Command::Disable { client_id, common } => one(&client_id, Some(true), &common).await,
        Command::Enable { client_id, common } => one(&client_id, Some(false), &common).await,
    }
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
                out!("{:<9} {:<40} {name}", row.state.word(), row.client.client_id);
            }
        }
    }
    if common.json {
        out!("{}", json!({ "items": items }));
    }
    Ok(())
}

async fn one(client_id: &str, change: administer::Change, common: &Common) -> Result<(), Failure> {
    let app = common.app().await?;
    let id = ClientId::try_from(client_id.to_owned()).map_err(|e| Failure::Usage(format!("{client_id}: {e}")))?;
    let row = administer::change_client(&app, &id, change).await.map_err(|e| failed(client_id, &e))?;
    if common.json {
        out!("{}", item(&row));
        return Ok(());
    }
    let metadata = &row.client.metadata;
    out!("{}", row.client.client_id);
    out!("  {:<14} {}", "name", metadata.client_name.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string));
    out!("  {:<14} {}", "status", common::stands(&row.state));
    out!("  {:<14} {}", "authenticates", metadata.token_endpoint_auth_method.as_str());
    out!("  {:<14} {}", "audiences", row.client.policy.audiences.join(", "));
    Ok(())
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
