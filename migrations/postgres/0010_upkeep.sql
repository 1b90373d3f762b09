-- How many dead letters an instance has is counted by this index. It told nothing of where they were going, so a
-- server also took it for lists of a user's, though those have one of their own.
DROP INDEX deliveries_dead;
CREATE INDEX deliveries_dead ON deliveries (instance_id) WHERE status = 'dead' AND direction = 'to_servicenow';

-- Statements find their rows by an index whatever the statistics say, so a tenth of the usual sample is enough.
-- Whoever analyzes these tables takes a processor for as long, and afterwards every session plans anew: that is done
-- when more has changed than the usual tenth.
DO $$
DECLARE
    c RECORD;
BEGIN
    FOR c IN
        SELECT CAST(attrelid AS REGCLASS) AS name, attname FROM pg_attribute
        WHERE attrelid IN (CAST('deliveries' AS REGCLASS), CAST('attempts' AS REGCLASS), CAST('lanes' AS REGCLASS), CAST('conversations' AS REGCLASS), CAST('cases' AS REGCLASS))
            AND attnum > 0 AND NOT attisdropped
    LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS 10', c.name, c.attname);
    END LOOP;
END
$$;
ALTER TABLE deliveries SET (autovacuum_analyze_scale_factor = 0.5);
ALTER TABLE attempts SET (autovacuum_analyze_scale_factor = 0.5);
ALTER TABLE lanes SET (autovacuum_analyze_scale_factor = 0.5);
ALTER TABLE conversations SET (autovacuum_analyze_scale_factor = 0.5);
