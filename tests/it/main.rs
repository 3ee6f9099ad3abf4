//! Every test that needs more than one function: one binary, through real HTTP where it matters. Run by `tests/run`.

mod authorize;
mod browser;
mod client_auth;
mod code;
mod discovery;
mod errors;
mod harness;
mod layers;
mod refresh;
mod sign_in;
mod throttle;
mod whole;
