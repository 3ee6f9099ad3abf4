-- `version` grows with every change; a mint names the version that its client's credential was judged by.
CREATE TABLE client (
    id TEXT PRIMARY KEY,
    issuer_id TEXT NOT NULL REFERENCES issuer (id),
    client_id TEXT NOT NULL,
    name TEXT NOT NULL,
    auth_method TEXT NOT NULL,
    secret_hash TEXT,
    jwks TEXT,
    redirect_uris TEXT NOT NULL,
    grant_types TEXT NOT NULL,
    audiences TEXT NOT NULL,
    first_party_at BIGINT,
    origin TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    disabled_at BIGINT,
    UNIQUE (issuer_id, client_id)
);

-- What is known of a relying service. `dialect` says which protocol it speaks.
CREATE TABLE service (
    id TEXT PRIMARY KEY,
    issuer_id TEXT NOT NULL REFERENCES issuer (id),
    audience TEXT NOT NULL,
    name TEXT,
    dialect TEXT NOT NULL,
    resources TEXT NOT NULL,
    scopes TEXT NOT NULL,
    client_ids TEXT NOT NULL,
    claims TEXT NOT NULL,
    revocation_uri TEXT,
    max_auth_age BIGINT,
    origin TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    disabled_at BIGINT,
    UNIQUE (issuer_id, audience)
);

-- Assertion ids that were used to authenticate a client (RFC 7523 section 3): kept until they could no longer verify.
CREATE TABLE used_jti (
    issuer_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    jti TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, client_id, jti)
);
CREATE INDEX used_jti_expiry ON used_jti (expires_at);
