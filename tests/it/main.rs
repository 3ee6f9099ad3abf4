//! Every test that needs more than one function: one binary, so that it is linked once. Run it with `tests/run`.

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
mod spec;
mod throttle;
mod whole;
