-- How many calls X says that its limit of the whole app allows; NULL until it has said so.
ALTER TABLE app_budgets ADD COLUMN told_limit BIGINT;

-- A row is made when it is needed: so a new database has none, and those of another can be copied into it.
DELETE FROM app_budgets WHERE reset_at IS NULL;
