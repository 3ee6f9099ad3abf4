//! What Avouch does, one file for each thing. The only composers: they read facts, let `domain` decide, and write.

pub mod authorize;
pub mod bearer;
pub mod client_auth;
pub mod code;
pub mod connections;
pub mod consent;
pub mod declare;
pub mod exchange;
pub mod id_token;
pub mod issued;
pub mod issuers;
pub mod issuers_admin;
pub mod keyfile;
pub mod keyring;
pub mod logo;
pub mod notify;
pub mod refresh;
pub mod services;
pub mod sign_in;
pub mod start;
pub mod sweep;
pub mod tokens;
pub mod withdraw;
