-- When the account last got another instance: what others accepted for it at that moment follows.
ALTER TABLE accounts ADD COLUMN rerouted_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX accounts_by_reroute ON accounts (rerouted_at);

-- Whose case it is at X: an account that is linked again, under another id here, answers its cases of before.
ALTER TABLE cases ADD COLUMN twitter_user_id TEXT;
UPDATE cases SET twitter_user_id = (SELECT a.twitter_user_id FROM accounts AS a WHERE a.id = cases.account_id);
