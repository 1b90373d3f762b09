-- What is decided in one small commit and carried out in many: rows of a user or an account that is gone, messages
-- that follow their account to another instance, messages that go on after new credentials.
CREATE TABLE errands (
    -- 'bury_account', 'bury_user', 'reroute' or 'reopen'
    kind TEXT NOT NULL,
    -- The account, the user, or the instance or account that is worked for.
    subject_id TEXT NOT NULL,
    -- When it was asked for last. Whoever ends it names this, so that one that was asked for again stays.
    asked_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    -- Until when what was blocked may fail once it goes on.
    deadline_at INTEGER NOT NULL,
    PRIMARY KEY (kind, subject_id)
) STRICT, WITHOUT ROWID;

-- A user, an account or an instance is gone at once, however many rows belong to it: those are taken away by
-- errands. Whatever reads them looks whether their account is there.
--
-- SQLite drops a reference only with its table. What it keeps on disk does not depend on references, so it allows to
-- take them out of the text of the schema: https://www.sqlite.org/lang_altertable.html#otheralter
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(replace(replace(sql,
    ' REFERENCES users (id) ON DELETE CASCADE', ''),
    ' REFERENCES accounts (id) ON DELETE CASCADE', ''),
    ' REFERENCES instances (id) ON DELETE SET NULL', '')
    WHERE type = 'table' AND name IN ('conversations', 'cases', 'lanes', 'deliveries');
PRAGMA writable_schema = RESET;

-- An errand walks the lanes of an account part by part.
DROP INDEX lanes_by_account;
CREATE INDEX lanes_by_account ON lanes (account_id, id);

-- What was tried and waits: all that new credentials change.
CREATE INDEX deliveries_tried_there ON deliveries (instance_id, status, next_attempt_at)
    WHERE status IN ('retrying', 'blocked') AND direction = 'to_servicenow';
CREATE INDEX deliveries_tried_at_x ON deliveries (account_id, status, next_attempt_at)
    WHERE status IN ('retrying', 'blocked') AND direction = 'to_x';
