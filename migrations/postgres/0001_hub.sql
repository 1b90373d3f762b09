-- The hub's tables. Times are milliseconds since the Unix epoch; ids are version 7 UUIDs in text,
-- so they sort by creation. The same tables and columns stand in migrations/sqlite.

CREATE TABLE users (
    id TEXT NOT NULL PRIMARY KEY,
    username TEXT NOT NULL,
    -- The user name in lower case: unique, whatever the case it was written in.
    username_key TEXT NOT NULL UNIQUE,
    first_name TEXT NOT NULL,
    last_name TEXT NOT NULL,
    company_name TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    is_staff BOOLEAN NOT NULL,
    is_active BOOLEAN NOT NULL,
    date_joined BIGINT NOT NULL
);

CREATE TABLE tokens (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- SHA-256 of the token, in hex. The token itself is nowhere.
    digest TEXT NOT NULL UNIQUE,
    -- 'session' or 'api_key'
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    last_used_at BIGINT
);
CREATE INDEX tokens_by_user ON tokens (user_id);
CREATE UNIQUE INDEX tokens_one_api_key ON tokens (user_id) WHERE kind = 'api_key';
CREATE INDEX tokens_by_expiry ON tokens (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE instances (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    instance_url TEXT NOT NULL,
    auth TEXT NOT NULL,
    admin_user TEXT NOT NULL,
    client_id TEXT NOT NULL,
    -- Passwords, client secret and API key: one sealed JSON object.
    sealed_secrets BYTEA NOT NULL,
    rate TEXT NOT NULL,
    concurrency BIGINT NOT NULL,
    mode TEXT NOT NULL,
    customer_table TEXT NOT NULL,
    case_defaults TEXT NOT NULL,
    reopen_window_ms BIGINT,
    status TEXT NOT NULL,
    status_detail TEXT NOT NULL,
    last_success_at BIGINT,
    -- No call before this time: the other side, or the breaker, said so.
    paused_until BIGINT,
    created_at BIGINT NOT NULL,
    -- Grows with every change of the settings, so that two changes at once never undo each other.
    version BIGINT NOT NULL DEFAULT 1
);
CREATE INDEX instances_by_user ON instances (user_id);

CREATE TABLE accounts (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    instance_id TEXT REFERENCES instances (id) ON DELETE SET NULL,
    twitter_user_id TEXT NOT NULL UNIQUE,
    screen_name TEXT NOT NULL,
    -- Access token and its secret: one sealed JSON object.
    sealed_secrets BYTEA NOT NULL,
    reply_channel TEXT NOT NULL,
    case_policy TEXT NOT NULL,
    status TEXT NOT NULL,
    status_detail TEXT NOT NULL,
    subscribed BOOLEAN,
    last_event_at BIGINT,
    paused_until BIGINT,
    created_at BIGINT NOT NULL,
    -- Grows with every change of the settings, so that two changes at once never undo each other.
    version BIGINT NOT NULL DEFAULT 1
);
CREATE INDEX accounts_by_user ON accounts (user_id);
CREATE INDEX accounts_by_instance ON accounts (instance_id);

-- A linked account and a customer. Written only by the actor that delivers for its instance.
CREATE TABLE conversations (
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    -- The customer's X user id.
    customer_id TEXT NOT NULL,
    handle TEXT,
    name TEXT,
    -- The instance that the records below stand on.
    instance_id TEXT,
    customer_sys_id TEXT,
    case_sys_id TEXT,
    case_number TEXT,
    -- Counts the cases of this conversation; part of their correlation_id.
    episode BIGINT NOT NULL,
    -- When the case was last seen open.
    case_open_at BIGINT,
    -- The customer's newest post, to answer publicly, and the channel of the newest message.
    last_post_id TEXT,
    last_channel TEXT,
    PRIMARY KEY (account_id, customer_id)
);

-- Every case that a conversation ever fed: whom an agent's answer to it is for. It outlives the account,
-- so that an answer after unlinking is told apart from an unknown case.
CREATE TABLE cases (
    instance_id TEXT NOT NULL,
    sys_id TEXT NOT NULL,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    account_id TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    customer_sys_id TEXT,
    number TEXT,
    open_at BIGINT,
    PRIMARY KEY (sys_id, instance_id)
);
CREATE INDEX cases_by_user ON cases (user_id);
CREATE INDEX cases_by_customer ON cases (customer_sys_id) WHERE customer_sys_id IS NOT NULL;

-- A lane is the unit of order: one conversation in one direction. At most one of its deliveries is worked on.
CREATE TABLE lanes (
    id TEXT NOT NULL PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    direction TEXT NOT NULL,
    -- The instance (to_servicenow) or the account (to_x) whose actor works on it.
    target_id TEXT NOT NULL,
    n_pending BIGINT NOT NULL,
    -- When its head may be worked on; NULL while nothing is pending.
    ready_at BIGINT
);
CREATE INDEX lanes_ready ON lanes (target_id, ready_at) WHERE ready_at IS NOT NULL;
CREATE INDEX lanes_by_account ON lanes (account_id);

CREATE TABLE deliveries (
    id TEXT NOT NULL PRIMARY KEY,
    direction TEXT NOT NULL,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    instance_id TEXT REFERENCES instances (id) ON DELETE SET NULL,
    customer_id TEXT NOT NULL,
    lane_id TEXT NOT NULL,
    -- What makes it the same delivery: (account, DM or post) or (user, event_id).
    dedup_key TEXT UNIQUE,
    -- The DM or post it came from, or the sender's event_id.
    source_id TEXT,
    -- Digest of what the sender asked for, to tell a repetition from another request.
    fingerprint TEXT,
    -- Sorts the lane as the customer wrote.
    order_key TEXT NOT NULL,
    -- The message in JSON; NULL once retention erased it.
    payload TEXT,
    -- The effect journal: what was about to be done when it was last written, in JSON.
    journal TEXT,
    begun_at BIGINT,
    attempts BIGINT NOT NULL,
    next_attempt_at BIGINT,
    -- Failing longer than until then makes it a dead letter.
    deadline_at BIGINT NOT NULL,
    error_class TEXT,
    error_detail TEXT,
    -- The id that X gave to what was sent.
    message_id TEXT,
    case_sys_id TEXT,
    case_number TEXT,
    created_at BIGINT NOT NULL,
    delivered_at BIGINT
);
CREATE INDEX deliveries_pending ON deliveries (lane_id, order_key)
    WHERE status IN ('queued', 'sending', 'retrying', 'blocked');
CREATE INDEX deliveries_by_user ON deliveries (user_id, id);
CREATE INDEX deliveries_by_message ON deliveries (account_id, message_id) WHERE message_id IS NOT NULL;
CREATE INDEX deliveries_dead ON deliveries (instance_id) WHERE status = 'dead';
CREATE INDEX deliveries_by_account ON deliveries (account_id);

CREATE TABLE attempts (
    delivery_id TEXT NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
    n BIGINT NOT NULL,
    at BIGINT NOT NULL,
    http_status BIGINT,
    error_class TEXT,
    error_detail TEXT,
    duration_ms BIGINT NOT NULL,
    PRIMARY KEY (delivery_id, n)
);

-- Single values: counters that tell a running process that another one changed something.
CREATE TABLE marks (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO marks (name, value) VALUES ('tokens', 0), ('deliveries', 0), ('settings', 0);
