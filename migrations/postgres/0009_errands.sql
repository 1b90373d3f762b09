-- What is decided in one small commit and carried out in many: rows of a user or an account that is gone, messages
-- that follow their account to another instance, messages that go on after new credentials.
CREATE TABLE errands (
    -- 'bury_account', 'bury_user', 'reroute' or 'reopen'
    kind TEXT NOT NULL,
    -- The account, the user, or the instance or account that is worked for.
    subject_id TEXT NOT NULL,
    -- When it was asked for last. Whoever ends it names this, so that one that was asked for again stays.
    asked_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    -- Until when what was blocked may fail once it goes on.
    deadline_at BIGINT NOT NULL,
    PRIMARY KEY (kind, subject_id)
);

-- A user, an account or an instance is gone at once, however many rows belong to it: those are taken away by
-- errands. Whatever reads them looks whether their account is there.
ALTER TABLE conversations DROP CONSTRAINT conversations_account_id_fkey;
ALTER TABLE cases DROP CONSTRAINT cases_user_id_fkey;
ALTER TABLE lanes DROP CONSTRAINT lanes_account_id_fkey;
ALTER TABLE deliveries DROP CONSTRAINT deliveries_user_id_fkey;
ALTER TABLE deliveries DROP CONSTRAINT deliveries_account_id_fkey;
ALTER TABLE deliveries DROP CONSTRAINT deliveries_instance_id_fkey;

-- An errand walks the lanes of an account part by part.
DROP INDEX lanes_by_account;
CREATE INDEX lanes_by_account ON lanes (account_id, id);

-- What was tried and waits: all that new credentials change.
CREATE INDEX deliveries_tried_there ON deliveries (instance_id, status, next_attempt_at)
    WHERE status IN ('retrying', 'blocked') AND direction = 'to_servicenow';
CREATE INDEX deliveries_tried_at_x ON deliveries (account_id, status, next_attempt_at)
    WHERE status IN ('retrying', 'blocked') AND direction = 'to_x';
