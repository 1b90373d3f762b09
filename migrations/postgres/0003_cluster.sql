-- Who delivers for whom when several replicas share the database.

-- Replicas that are there. Times in these two tables are the database's, in milliseconds since the Unix epoch.
CREATE TABLE replicas (
    id TEXT NOT NULL PRIMARY KEY,
    alive_until BIGINT NOT NULL
);

-- A shard is the unit of ownership: every instance and every account belongs to one. Only the replica that
-- holds a shard's lease delivers for them.
CREATE TABLE shards (
    id BIGINT NOT NULL PRIMARY KEY,
    owner TEXT,
    -- Grows with every change of the owner: what was begun under an older one is refused.
    epoch BIGINT NOT NULL,
    lease_until BIGINT
) WITH (fillfactor = 50);
INSERT INTO shards (id, epoch) SELECT id, 0 FROM generate_series(0, 255) AS id;

-- Room on each page for the next versions of its rows.
ALTER TABLE lanes SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE deliveries SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE conversations SET (fillfactor = 80);

-- Which lanes of a target go first: 0 first attempts, 1 repeated ones, 2 replays of dead letters.
ALTER TABLE lanes ADD COLUMN urgency BIGINT NOT NULL DEFAULT 0;
DROP INDEX lanes_ready;
CREATE INDEX lanes_ready ON lanes (target_id, urgency, ready_at) WHERE ready_at IS NOT NULL;

-- Calls that count against a limit which X sets for the whole app, whichever account makes them.
CREATE TABLE app_calls (
    -- The mark of the attempt that made it.
    id BIGINT NOT NULL PRIMARY KEY,
    -- 'dm' or 'reply'
    budget TEXT NOT NULL,
    account_id TEXT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX app_calls_by_time ON app_calls (budget, at);

-- What X told last of such a limit: it counts until it resets.
CREATE TABLE app_budgets (
    budget TEXT NOT NULL PRIMARY KEY,
    remaining BIGINT,
    reset_at BIGINT
);
INSERT INTO app_budgets (budget) VALUES ('dm'), ('reply');
