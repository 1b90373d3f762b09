-- How many dead letters an instance has is counted by this index. It told nothing of where they were going, so a
-- server also took it for lists of a user's, though those have one of their own.
DROP INDEX deliveries_dead;
CREATE INDEX deliveries_dead ON deliveries (instance_id) WHERE status = 'dead' AND direction = 'to_servicenow';
