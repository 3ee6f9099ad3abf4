//! The rules, without I/O: what may be said, to whom, and when it ends.

pub mod authorize;
pub mod cimd;
pub mod claims;
pub mod client;
pub mod consent;
pub mod delegation;
pub mod display_name;
pub mod exchange;
pub mod ids;
pub mod issuer;
pub mod refusal;
pub mod retry;
pub mod scope;
pub mod service;
pub mod session;
pub mod ticket;
