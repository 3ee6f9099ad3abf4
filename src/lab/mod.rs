//! Proving services, other people's and our own.

pub mod agent;
pub mod drill;
pub mod examine;
pub mod flaws;
pub mod harness;
pub mod hosted;
pub mod issuer;
pub mod mint;
pub mod pages;
pub mod probe;
pub mod sandbox;
#[cfg(test)]
mod testing;
pub mod vectors;
