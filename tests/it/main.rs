//! Every test that needs more than one function: one binary, through real HTTP where it matters. Run by `tests/run`.

mod browser;
mod committer;
mod harness;
mod layers;
mod whole;
