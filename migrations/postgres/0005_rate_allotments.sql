-- Calls that the owner of an instance has taken for itself out of a rate over more than a few seconds: whoever
-- delivers for the instance next goes on counting from them.
CREATE TABLE rate_allotments (
    id TEXT NOT NULL PRIMARY KEY,
    instance_id TEXT NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    n_calls BIGINT NOT NULL,
    -- When the next one was taken: its calls had started by then. NULL for the newest.
    closed_at BIGINT
);
CREATE INDEX rate_allotments_by_instance ON rate_allotments (instance_id);
