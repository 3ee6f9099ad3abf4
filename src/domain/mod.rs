//! The rules, without I/O: what may be said, to whom, and when it ends.

pub mod authorize;
pub mod cimd;
pub mod claims;
pub mod client;
pub mod client_metadata;
pub mod consent;
pub mod delegation;
pub mod display_name;
pub mod exchange;
pub mod ids;
pub mod issuer;
pub mod members;
pub mod notice;
pub mod public_jwks;
pub mod redirect_uri;
pub mod refusal;
pub mod retry;
pub mod scope;
pub mod service;
pub mod service_policy;
pub mod session;
pub mod ticket;
