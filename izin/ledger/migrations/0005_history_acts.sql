-- Runs outside a transaction.
-- Lists acts, in the months that there are (0005_console).
CREATE INDEX CONCURRENTLY IF NOT EXISTS {month}_acts ON {month}
    (((data ->> 'act') = 'look'), recorded_at, shard, place) WHERE kind = 'act'
