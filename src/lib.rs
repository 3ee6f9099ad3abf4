//! Avouch: an agent provider's identity service.
//!
//! Arrows point down; `tests/it/layers.rs` keeps them:
//!
//! - [`cli`] starts things; [`http`] and [`delivery`] speak to the world and call [`flow`];
//! - [`flow`] composes: one file for each thing Avouch does, over [`store`] (the only SQL), [`net`] (the only way out) and [`jose`]
//!   (the only signatures);
//! - [`domain`] holds the rules and knows nobody;
//! - [`lab`] tests other people's services, and ours;
//! - [`host`] is a process and its issuers; [`cache`] what it keeps for a while, [`passwords`] where it hashes them;
//! - [`config`], [`secret`], [`clock`], [`rng`] and [`meters`] are the floor.
//!
//! [`spec`] maps every section we build to the item that does it and the test that proves it.

// Both panic where nobody reads any more: `cli` writes by `out!` and `say!`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod delivery;
pub mod domain;
pub mod error;
pub mod fetches;
pub mod flow;
pub mod host;
pub mod http;
pub mod jose;
pub mod lab;
pub mod meters;
pub mod net;
pub mod passwords;
pub mod rng;
pub mod secret;
pub mod spec;
pub mod store;
