//! Avouch: an agent provider's identity service.
pub mod clock;
pub mod domain;
pub mod net;
pub mod rng;
pub mod secret;
