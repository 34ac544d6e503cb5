-- A ledger that was restored from a backup, or taken over by a standby, may be behind what it has announced in Kafka.
-- Until it has caught up it publishes nothing of what it had, and submits nothing: both happened before.
ALTER TABLE kafka_offsets
    ADD COLUMN announced_offset bigint,
    ADD COLUMN held_since timestamptz,
    ADD CONSTRAINT kafka_offsets_held CHECK (num_nulls(announced_offset, held_since) <> 1);
COMMENT ON COLUMN kafka_offsets.announced_offset IS
    'How far the ledger had announced to have read, before it lost the transactions that did; NULL: it has lost none.';
