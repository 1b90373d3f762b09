-- Bulk replays: dead letters that are put back little by little. The same transaction that puts some back
-- moves the cursor behind them.
CREATE TABLE replays (
    id TEXT NOT NULL PRIMARY KEY,
    -- Whose dead letters; NULL for all, as an operator asks for it.
    user_id TEXT REFERENCES users (id) ON DELETE CASCADE,
    -- Which of them; NULL does not narrow. Times are those of acceptance, from `since` to before `until`.
    direction TEXT,
    instance_id TEXT,
    since BIGINT,
    until BIGINT,
    -- At most so many messages in so long, such as '50 per 1s'.
    rate TEXT NOT NULL,
    n_total BIGINT NOT NULL,
    -- Dead letters that it has passed, and those of them that it could not put back.
    n_done BIGINT NOT NULL,
    n_skipped BIGINT NOT NULL,
    -- The id of the last one that it has passed; empty at the start.
    cursor TEXT NOT NULL,
    -- When the next step may be taken.
    due_at BIGINT NOT NULL,
    -- 'running', 'done' or 'cancelled'
    state TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE INDEX replays_running ON replays (due_at) WHERE state = 'running';
CREATE INDEX replays_by_user ON replays (user_id, id);

-- A replay goes through the dead letters in the order of their ids: those of a user, or of all.
CREATE INDEX deliveries_dead_by_user ON deliveries (user_id, id) WHERE status = 'dead';
CREATE INDEX deliveries_dead_by_id ON deliveries (id) WHERE status = 'dead';
