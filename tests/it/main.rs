//! Every test that needs more than one function: one binary, so that it is linked once. Run it with `tests/run`.

mod api;
mod authorize;
mod browser;
mod client_auth;
mod code;
mod consent;
mod delivery;
mod discovery;
mod errors;
mod exchange;
mod harness;
mod layers;
mod locks;
mod mint;
mod page_attacks;
mod page_looks;
mod pages;
mod refresh;
mod replicas;
mod sign_in;
mod spec;
mod start;
mod store;
mod throttle;
mod whole;
mod withdraw;
