//! Every test that needs more than one function: one binary, through real HTTP where it matters. Run by `tests/run`.

mod browser;
mod consent;
mod exchange;
mod harness;
mod locks;
mod mint;
mod replicas;
mod store;
mod whole;
