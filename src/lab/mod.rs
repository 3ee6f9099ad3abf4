//! Proving services, other people's and our own.

pub mod agent;
pub mod sandbox;
