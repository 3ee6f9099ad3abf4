-- Every row belongs to an issuer, also where one issuer is all there is.
-- `cimd` holds what its Client ID Metadata Document says beside what follows from `url`, `logo` a PNG that was made here. `revision` grows with every change of the row
-- or of its keys: that is how the other processes hear of it.
CREATE TABLE issuer (
    id TEXT PRIMARY KEY,
    url TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    colour TEXT,
    logo TEXT,
    logo_hash TEXT,
    cimd TEXT NOT NULL,
    admin_token_hash TEXT NOT NULL,
    origin TEXT NOT NULL,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    disabled_at BIGINT
);
CREATE UNIQUE INDEX issuer_revision ON issuer (revision);
-- A start looks for those that disappeared from the configuration, among ten thousand that were never in it.
CREATE INDEX issuer_declared ON issuer (id) WHERE origin = 'config' AND disabled_at IS NULL;

-- Numbers that are drawn in order; a drawn one locks its row until the transaction ends.
CREATE TABLE counter (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counter (name, value) VALUES ('issuer', 0);

-- Who is vouched for. `sub` is what leaves; `id` never does. Three things keep one from living, here as of clients and services, and each is
-- taken back by itself alone: an administrator stopped it, the configuration declares it no longer, or what stood under it is still being
-- ended. `decisions` counts what they decided, so that the last word is known whatever
-- the clocks say.
CREATE TABLE account (
    id TEXT PRIMARY KEY,
    issuer_id TEXT NOT NULL REFERENCES issuer (id),
    sub TEXT NOT NULL,
    email TEXT NOT NULL,
    email_verified_at BIGINT,
    name TEXT,
    phone_number TEXT,
    phone_verified_at BIGINT,
    password_hash TEXT,
    origin TEXT NOT NULL,
    version BIGINT NOT NULL,
    decisions BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    stopped_at BIGINT,
    undeclared_at BIGINT,
    ending_at BIGINT,
    disabled_at BIGINT GENERATED ALWAYS AS (COALESCE(stopped_at, undeclared_at, ending_at)) STORED,
    UNIQUE (issuer_id, sub),
    UNIQUE (issuer_id, email)
);

-- A browser session. `id` is the `sid` of ID tokens; the cookie's token is stored as its hash.
CREATE TABLE session (
    id TEXT PRIMARY KEY,
    issuer_id TEXT NOT NULL REFERENCES issuer (id),
    account_id TEXT NOT NULL REFERENCES account (id),
    token_hash TEXT NOT NULL UNIQUE,
    auth_time BIGINT NOT NULL,
    user_agent TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE INDEX session_account ON session (account_id, id) WHERE ended_at IS NULL;
CREATE INDEX session_expiry ON session (expires_at);

-- Failed sign-ins, shared by the replicas. `name` is the hash of an e-mail or an address.
CREATE TABLE throttle (
    issuer_id TEXT NOT NULL REFERENCES issuer (id),
    name TEXT NOT NULL,
    failures BIGINT NOT NULL,
    failed_at BIGINT NOT NULL,
    blocked_until BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, name)
);
CREATE INDEX throttle_failed ON throttle (failed_at);
