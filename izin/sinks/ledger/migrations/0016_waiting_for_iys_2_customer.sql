-- Runs outside a transaction.
-- Finds out whether a month has anything of a customer, in each month that was written before new ones had this index.
CREATE INDEX CONCURRENTLY IF NOT EXISTS {month}_customer ON {month} (customer_id);
