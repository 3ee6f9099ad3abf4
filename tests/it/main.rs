//! Every test that needs more than one function: one binary, through real HTTP where it matters. Run by `tests/run`.

mod api;
mod browser;
mod delivery;
mod harness;
mod layers;
mod process;
mod start;
mod whole;
mod withdraw;
