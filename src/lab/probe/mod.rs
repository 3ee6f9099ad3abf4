//! The probe: examines a service that accepts ID-JAGs, from outside, as any issuer that it trusts could.

pub mod report;
