//! Signing keys: what each is for.

vocabulary! {
    /// Where a signing key stands.
    pub enum KeyState {
        /// Published, so that verifiers have it before it signs.
        Pending = "pending",
        /// Published, and the one that signs.
        Active = "active",
        /// Published for what it signed, and signs no more.
        Retiring = "retiring",
        /// Published no more, its private half destroyed.
        Removed = "removed",
        /// Published no more, because somebody else may have it.
        Revoked = "revoked",
    }
}
