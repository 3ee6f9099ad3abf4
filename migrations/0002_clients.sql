-- `version` grows with every change; a mint names the version that its client's credential was judged by.
CREATE TABLE client (
    id TEXT PRIMARY KEY,
    issuer_id TEXT NOT NULL REFERENCES issuer (id),
    client_id TEXT NOT NULL,
    client_name TEXT,
    token_endpoint_auth_method TEXT NOT NULL,
    secret_hash TEXT,
    jwks TEXT,
    redirect_uris TEXT NOT NULL,
    grant_types TEXT NOT NULL,
    id_token_signed_response_alg TEXT NOT NULL,
    backchannel_logout_uri TEXT,
    backchannel_logout_session_required BIGINT NOT NULL,
    post_logout_redirect_uris TEXT NOT NULL,
    audiences TEXT NOT NULL,
    first_party BIGINT NOT NULL,
    require_pkce BIGINT NOT NULL,
    origin TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    stopped_at BIGINT,
    undeclared_at BIGINT,
    ending_at BIGINT,
    disabled_at BIGINT GENERATED ALWAYS AS (COALESCE(stopped_at, undeclared_at, ending_at)) STORED,
    UNIQUE (issuer_id, client_id)
);
-- Whether an issuer has any decides what its metadata says.
CREATE INDEX client_public ON client (issuer_id) WHERE token_endpoint_auth_method = 'none' AND disabled_at IS NULL;

-- What is known of a relying service: what it can do, not which protocol that comes from. `origin` is whose word that is: config, pinned,
-- discovered, or unknown for one of which nothing could be found out. `shown` is what users are shown of it where it speaks for itself.
CREATE TABLE service (
    id TEXT PRIMARY KEY,
    issuer_id TEXT NOT NULL REFERENCES issuer (id),
    audience TEXT NOT NULL,
    place TEXT NOT NULL, -- what all spellings of the audience have in common
    name TEXT,
    resources TEXT NOT NULL,
    scopes TEXT NOT NULL,
    client_ids TEXT NOT NULL,
    claims TEXT NOT NULL,
    max_auth_age BIGINT,
    requires_verified_contact BIGINT NOT NULL,
    client_id_source TEXT NOT NULL,
    takes_id_jag BIGINT NOT NULL,
    notices TEXT NOT NULL,
    signing_alg TEXT NOT NULL,
    shown TEXT,
    origin TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    stopped_at BIGINT,
    undeclared_at BIGINT,
    ending_at BIGINT,
    disabled_at BIGINT GENERATED ALWAYS AS (COALESCE(stopped_at, undeclared_at, ending_at)) STORED,
    UNIQUE (issuer_id, audience)
);
CREATE INDEX service_place ON service (issuer_id, place);
CREATE INDEX service_list ON service (issuer_id, id);

-- Beside a service that nobody declared: what was understood of what it publishes. `fresh_until` is by the rules of HTTP; `due_at` is when
-- somebody looks again by themselves; `missed_at` since when looks find nothing that proves anything, while what was found before stands.
-- `client_id` is who named it first: none where an operator did.
CREATE TABLE discovery (
    issuer_id TEXT NOT NULL REFERENCES issuer (id),
    audience TEXT NOT NULL,
    client_id TEXT REFERENCES client (id),
    understood TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    looked_at BIGINT NOT NULL,
    fresh_until BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    missed_at BIGINT,
    PRIMARY KEY (issuer_id, audience)
);
CREATE INDEX discovery_due ON discovery (due_at);
CREATE INDEX discovery_client ON discovery (client_id, created_at);

-- Assertion ids that were used to authenticate a client (RFC 7523 section 3): kept until they could no longer verify.
CREATE TABLE used_jti (
    issuer_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    jti TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, client_id, jti)
);
CREATE INDEX used_jti_expiry ON used_jti (expires_at);
