-- Runs outside a transaction.
-- Finds the opt-outs of some days in the months that there are (0005_console).
CREATE INDEX CONCURRENTLY IF NOT EXISTS {month}_opt_outs ON {month} (recorded_at)
    WHERE kind = 'decision' AND opted_out(decision)
