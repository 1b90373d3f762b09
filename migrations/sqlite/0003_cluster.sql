-- Who delivers for whom when several replicas share the database. An embedded one has a single process,
-- which owns every shard: here the tables stay as they are.

CREATE TABLE replicas (
    id TEXT NOT NULL PRIMARY KEY,
    alive_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE shards (
    id INTEGER NOT NULL PRIMARY KEY,
    owner TEXT,
    -- Grows with every change of the owner: what was begun under an older one is refused.
    epoch INTEGER NOT NULL,
    lease_until INTEGER
) STRICT;
INSERT INTO shards (id, epoch)
    WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 255)
    SELECT n, 0 FROM numbers;

-- Which lanes of a target go first: 0 first attempts, 1 repeated ones, 2 replays of dead letters.
ALTER TABLE lanes ADD COLUMN urgency INTEGER NOT NULL DEFAULT 0;
DROP INDEX lanes_ready;
CREATE INDEX lanes_ready ON lanes (target_id, urgency, ready_at) WHERE ready_at IS NOT NULL;

-- Calls that count against a limit which X sets for the whole app, whichever account makes them.
CREATE TABLE app_calls (
    -- The mark of the attempt that made it.
    id INTEGER NOT NULL PRIMARY KEY,
    -- 'dm' or 'reply'
    budget TEXT NOT NULL,
    account_id TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX app_calls_by_time ON app_calls (budget, at);

-- What X told last of such a limit: it counts until it resets.
CREATE TABLE app_budgets (
    budget TEXT NOT NULL PRIMARY KEY,
    remaining INTEGER,
    reset_at INTEGER
) STRICT;
INSERT INTO app_budgets (budget) VALUES ('dm'), ('reply');
