//! The rules, without I/O: what may be said, to whom, and when it ends.
pub mod cimd;
pub mod ids;
