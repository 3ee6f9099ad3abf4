//! The HTTP surface.
pub mod pages;
