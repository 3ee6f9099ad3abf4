-- The user's leave for a client to sign them in.
CREATE TABLE signin_consent (
    id TEXT PRIMARY KEY,
    issuer_id TEXT NOT NULL REFERENCES issuer (id),
    account_id TEXT NOT NULL REFERENCES account (id),
    client_id TEXT NOT NULL REFERENCES client (id),
    scope TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    ended_at BIGINT,
    UNIQUE (account_id, client_id, scope)
);
CREATE INDEX signin_consent_client ON signin_consent (client_id, id) WHERE ended_at IS NULL;

-- What one authorization gave: the tokens of one code share it, and end with it. `generation` is the last of its refresh tokens' that was
-- used; 0: none was. One that is not `offline` ends with its session. `expires_at` is when the last of its tokens expires.
CREATE TABLE token_family (
    id TEXT PRIMARY KEY,
    issuer_id TEXT NOT NULL REFERENCES issuer (id),
    account_id TEXT NOT NULL REFERENCES account (id),
    client_id TEXT NOT NULL REFERENCES client (id),
    session_id TEXT NOT NULL REFERENCES session (id),
    scope TEXT NOT NULL,
    offline BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE INDEX token_family_session ON token_family (session_id);
CREATE INDEX token_family_expiry ON token_family (expires_at);
CREATE INDEX token_family_account ON token_family (account_id, client_id, id) WHERE ended_at IS NULL;
CREATE INDEX token_family_client ON token_family (client_id, id) WHERE ended_at IS NULL;

-- Which clients a session has signed its user in to, for as long as it lives: they are told when it ends. Families are gone before.
CREATE TABLE session_client (
    session_id TEXT NOT NULL REFERENCES session (id) ON DELETE CASCADE,
    client_id TEXT NOT NULL REFERENCES client (id),
    issuer_id TEXT NOT NULL REFERENCES issuer (id),
    PRIMARY KEY (session_id, client_id)
);

CREATE TABLE authorization_code (
    hash TEXT PRIMARY KEY,
    issuer_id TEXT NOT NULL REFERENCES issuer (id),
    family_id TEXT NOT NULL REFERENCES token_family (id),
    redirect_uri TEXT NOT NULL,
    code_challenge TEXT,
    nonce TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);
CREATE INDEX authorization_code_expiry ON authorization_code (expires_at);
CREATE INDEX authorization_code_family ON authorization_code (family_id);

-- Access and refresh tokens, by hash. Refresh tokens of one `generation` replace the same one: more than one when its answer was lost.
CREATE TABLE access_token (
    hash TEXT PRIMARY KEY,
    issuer_id TEXT NOT NULL REFERENCES issuer (id),
    family_id TEXT NOT NULL REFERENCES token_family (id),
    scope TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX access_token_expiry ON access_token (expires_at);
CREATE INDEX access_token_family ON access_token (family_id);

CREATE TABLE refresh_token (
    hash TEXT PRIMARY KEY,
    issuer_id TEXT NOT NULL REFERENCES issuer (id),
    family_id TEXT NOT NULL REFERENCES token_family (id),
    generation BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);
CREATE INDEX refresh_token_expiry ON refresh_token (expires_at);
CREATE INDEX refresh_token_family ON refresh_token (family_id);
