//! How a service is talked to from outside by whoever examines it: where it takes what, what is said to it, and what its answers mean.

pub mod found;
pub(in crate::lab) mod hear;
pub(in crate::lab) mod stage;
pub(in crate::lab) mod talk;
pub(in crate::lab) mod target;
