-- Runs outside a transaction.
-- Lists acts of an actor, in the months that there are (0005_console).
CREATE INDEX CONCURRENTLY IF NOT EXISTS {month}_acts_of_actor ON {month}
    ((data ->> 'by'), ((data ->> 'act') = 'look'), recorded_at, shard, place) WHERE kind = 'act'
