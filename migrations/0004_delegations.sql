-- The standing record, one per (issuer, user, audience). `iss`, `sub` and `aud` are what was first emitted; every notice says the same.
-- Lists go by `is_over`, which a mint does not touch.
CREATE TABLE delegation (
    id TEXT PRIMARY KEY,
    issuer_id TEXT NOT NULL REFERENCES issuer (id),
    account_id TEXT NOT NULL REFERENCES account (id),
    iss TEXT NOT NULL,
    sub TEXT NOT NULL,
    aud TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT,
    last_client_id TEXT REFERENCES client (id),
    mint_count BIGINT NOT NULL,
    last_exp BIGINT NOT NULL,
    ended_at BIGINT,
    is_over BIGINT NOT NULL GENERATED ALWAYS AS (CASE WHEN ended_at IS NULL THEN 0 ELSE 1 END) STORED,
    UNIQUE (issuer_id, account_id, aud)
);
-- A page of a list, by whatever it is narrowed to.
CREATE INDEX delegation_list ON delegation (issuer_id, id);
CREATE INDEX delegation_over ON delegation (issuer_id, is_over, id);
CREATE INDEX delegation_service ON delegation (issuer_id, aud, id);
CREATE INDEX delegation_service_over ON delegation (issuer_id, aud, is_over, id);
CREATE INDEX delegation_account ON delegation (account_id, id);
CREATE INDEX delegation_account_over ON delegation (account_id, is_over, id);

-- What was disabled, and what stood under it is still being ended, batch by batch, by whichever server comes to it: as long as it is here, its
-- own row has an `ending_at`. `name` is a user's or client's key, or a service's audience.
CREATE TABLE removed (
    issuer_id TEXT NOT NULL REFERENCES issuer (id),
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (issuer_id, kind, name)
);

-- A question to the user. It never changes but for its end; the same request finds the same one by `request_key`. Sessions are swept when
-- they are over, so neither a question nor a decision refers to one by more than its name.
CREATE TABLE ticket (
    id TEXT PRIMARY KEY,
    issuer_id TEXT NOT NULL REFERENCES issuer (id),
    request_key TEXT NOT NULL,
    account_id TEXT NOT NULL REFERENCES account (id),
    session_id TEXT NOT NULL,
    client_id TEXT NOT NULL REFERENCES client (id),
    aud TEXT NOT NULL,
    scope TEXT NOT NULL,
    resources TEXT NOT NULL,
    agent_platform TEXT,
    agent_context_id TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    polled_at BIGINT NOT NULL,
    closed_at BIGINT,
    consent_id TEXT
);
CREATE UNIQUE INDEX ticket_open ON ticket (issuer_id, request_key) WHERE closed_at IS NULL;
CREATE INDEX ticket_account ON ticket (account_id, expires_at);
CREATE INDEX ticket_expiry ON ticket (expires_at);
-- The open ones, of which all are closed when a client or service is disabled.
CREATE INDEX ticket_client ON ticket (client_id, id) WHERE closed_at IS NULL;
CREATE INDEX ticket_service ON ticket (issuer_id, aud, id) WHERE closed_at IS NULL;

-- One decision, never changed once made; only its use and its end are written later. `number` is its place among those of its user. From
-- `ended_at` on nothing is minted by it; from `over_at` on nothing that was can be good any more: for once, it ends when it is used, and is
-- over when its service is told of a withdrawal.
CREATE TABLE consent (
    id TEXT PRIMARY KEY,
    issuer_id TEXT NOT NULL REFERENCES issuer (id),
    delegation_id TEXT REFERENCES delegation (id),
    account_id TEXT NOT NULL REFERENCES account (id),
    client_id TEXT NOT NULL REFERENCES client (id),
    aud TEXT NOT NULL,
    mode TEXT NOT NULL,
    until_at BIGINT,
    asked_scope TEXT NOT NULL,
    scope TEXT NOT NULL,
    resources TEXT NOT NULL,
    claims TEXT NOT NULL,
    shown TEXT,
    ground TEXT NOT NULL,
    request_key TEXT NOT NULL,
    session_id TEXT,
    number BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT,
    ended_at BIGINT,
    over_at BIGINT
);
CREATE INDEX consent_live ON consent (account_id, aud, client_id) WHERE ended_at IS NULL;
-- Not by the delegation alone: where one client has most consents, PostgreSQL would go through all of them in that order to find another's.
CREATE INDEX consent_delegation ON consent (issuer_id, delegation_id);
-- Which delegations a client is, or was, agreed to under: of all users, of one, at one service.
CREATE INDEX consent_client ON consent (client_id, delegation_id) WHERE delegation_id IS NOT NULL;
CREATE INDEX consent_client_service ON consent (client_id, aud, delegation_id) WHERE delegation_id IS NOT NULL;
CREATE INDEX consent_client_account ON consent (client_id, account_id, delegation_id) WHERE delegation_id IS NOT NULL;
-- What a client has, or got by a consent that it has used up, which may be little of what it ever had: for withdrawing all of it.
CREATE INDEX consent_client_standing ON consent (client_id, delegation_id) WHERE over_at IS NULL AND delegation_id IS NOT NULL;
CREATE INDEX consent_client_service_standing ON consent (client_id, aud, delegation_id)
    WHERE over_at IS NULL AND delegation_id IS NOT NULL;
CREATE INDEX consent_client_account_standing ON consent (client_id, account_id, delegation_id)
    WHERE over_at IS NULL AND delegation_id IS NOT NULL;
CREATE INDEX consent_denied ON consent (account_id, number) WHERE mode = 'denied' AND ended_at IS NULL;
CREATE INDEX consent_until ON consent (until_at, id) WHERE ended_at IS NULL AND until_at IS NOT NULL;

-- Append-only: every decision, assertion, withdrawal, attempt and admin act. No foreign keys: each would lock a row per assertion.
CREATE TABLE journal (
    id TEXT PRIMARY KEY,
    issuer_id TEXT NOT NULL,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    account_id TEXT,
    client_id TEXT,
    delegation_id TEXT,
    consent_id TEXT,
    delivery_id TEXT,
    jti TEXT,
    body TEXT NOT NULL
);
-- The attempts at telling a service, among assertions that may be very many. These are read by time alone: an index of them by delegation would
-- cost each mint a page.
CREATE INDEX journal_delivery ON journal (delivery_id, at, id) WHERE delivery_id IS NOT NULL;
CREATE INDEX journal_attempt ON journal (delegation_id, at, id) WHERE kind = 'delivery.attempt';
