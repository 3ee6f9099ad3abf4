-- Signing keys. The private half is sealed, and destroyed when its key has ended; `state` is pending, active, retiring, removed or revoked.
CREATE TABLE signing_key (
    kid TEXT NOT NULL,
    issuer_id TEXT NOT NULL REFERENCES issuer (id),
    alg TEXT NOT NULL,
    state TEXT NOT NULL,
    public_jwk TEXT NOT NULL,
    sealed TEXT,
    sealed_by TEXT,
    created_at BIGINT NOT NULL,
    activated_at BIGINT,
    rotates_from BIGINT,
    succeeded BIGINT NOT NULL,
    retired_at BIGINT,
    ended_at BIGINT,
    reason TEXT,
    PRIMARY KEY (kid, issuer_id)
);
CREATE UNIQUE INDEX signing_key_active ON signing_key (issuer_id, alg) WHERE state = 'active';
CREATE UNIQUE INDEX signing_key_pending ON signing_key (issuer_id, alg) WHERE state = 'pending';
-- Loading an issuer reads all its keys, whatever they are for, and not those of ten thousand others.
CREATE INDEX signing_key_issuer ON signing_key (issuer_id);
-- What is to be done next, of all issuers: each looks at what is due and nothing else.
CREATE INDEX signing_key_age ON signing_key (activated_at) WHERE state = 'active';
CREATE INDEX signing_key_rotates ON signing_key (succeeded, rotates_from) WHERE state = 'active';
CREATE INDEX signing_key_retiring ON signing_key (retired_at) WHERE state = 'retiring';
-- What a sealing key opens, and the next sealing key that opens something.
CREATE INDEX signing_key_sealed ON signing_key (sealed_by, issuer_id, kid) WHERE sealed_by IS NOT NULL;

-- Sealing keys by name; the keys themselves are in no row. One seals, and one may be announced: servers have to have it before it does.
CREATE TABLE sealing_key (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    since BIGINT NOT NULL
);
CREATE UNIQUE INDEX sealing_key_one ON sealing_key (state) WHERE state IN ('next', 'current');

-- Servers that run, or did when they were last heard of.
CREATE TABLE server (
    id TEXT PRIMARY KEY,
    place TEXT NOT NULL,
    sealing_keys TEXT NOT NULL,
    beats BIGINT NOT NULL,
    seen_at BIGINT NOT NULL
);
CREATE INDEX server_seen ON server (seen_at);

-- Notices on their way: one row until the service has answered 2xx or seven days are over. A service's is of a delegation; a client's, which is told
-- that a user signed out, has the `sid` of a session.
CREATE TABLE delivery (
    id TEXT PRIMARY KEY,
    issuer_id TEXT NOT NULL REFERENCES issuer (id),
    delegation_id TEXT REFERENCES delegation (id),
    sid TEXT,
    format TEXT NOT NULL,
    round TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    host TEXT NOT NULL,
    iss TEXT NOT NULL,
    sub TEXT NOT NULL,
    aud TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    lease TEXT,
    leased_until BIGINT,
    created_at BIGINT NOT NULL,
    give_up_at BIGINT NOT NULL,
    ended_at BIGINT,
    last_status BIGINT,
    last_error TEXT
);
CREATE INDEX delivery_due ON delivery (due_at) WHERE state = 'queued';
-- The oldest of each host, and the next host: claiming goes from one to the next.
CREATE INDEX delivery_host ON delivery (host, due_at, id) WHERE state = 'queued';
CREATE INDEX delivery_leased ON delivery (host, leased_until) WHERE state = 'queued' AND leased_until IS NOT NULL;
-- How many there are of a format, and which is the oldest of them: for those who watch.
CREATE INDEX delivery_format ON delivery (format, created_at) WHERE state = 'queued';
-- For those who look: a page of all, or of those that stand somewhere.
CREATE INDEX delivery_list ON delivery (issuer_id, id);
CREATE INDEX delivery_state ON delivery (issuer_id, state, id);
CREATE INDEX delivery_delegation ON delivery (delegation_id, issuer_id);
-- What is being withdrawn: few of those that are over.
CREATE INDEX delivery_waiting ON delivery (issuer_id, delegation_id) WHERE state = 'queued';

-- Who has fetched which key lately (`kid` is empty for the document about ourselves), so that an operator sees whether a rotation reaches
-- everybody. Not for judging anything by.
CREATE TABLE key_fetch (
    issuer_id TEXT NOT NULL REFERENCES issuer (id),
    address TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    kid TEXT NOT NULL,
    count BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, address, user_agent, kid)
);
CREATE INDEX key_fetch_over ON key_fetch (last_at);
