//! `/api/v1`: REST with bearer tokens, one file for each resource.

pub(super) mod delegations;
