//! Avouch: an agent provider's identity service.
pub mod clock;
pub mod config;
pub mod domain;
pub mod jose;
pub mod lab;
pub mod net;
pub mod rng;
pub mod secret;
pub mod store;
