-- Runs outside a transaction.
-- Finds the movements of an hour, in each month that was written before new ones had this index.
CREATE INDEX CONCURRENTLY IF NOT EXISTS {month}_recorded ON {month} USING brin (recorded_at) WITH (autosummarize = on);
