-- Runs outside a transaction.
-- Lists acts on what is a customer's, in the months that there are (0005_console).
CREATE INDEX CONCURRENTLY IF NOT EXISTS {month}_acts_of_customer ON {month}
    (customer_id, ((data ->> 'act') = 'look'), recorded_at, shard, place) WHERE kind = 'act'
