//! Proving services, other people's and our own.

pub mod sandbox;
