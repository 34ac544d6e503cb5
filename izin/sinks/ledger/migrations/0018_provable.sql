-- What a reader uses of a row of the history is covered by its commitment, or follows from what is. The rows before were
-- written so, and need not be read again.

-- A decision has its columns in its bytes, and no other kind has such bytes. Of an erased row nothing is covered any more,
-- so that it says nothing: neither its kind nor whose it was. Nothing separates the salt from what follows it.
ALTER TABLE movements
    DROP CONSTRAINT movements_kind_check,
    ADD CONSTRAINT movements_kind_check CHECK (kind IN (
        'decision', 'call', 'answer', 'observation', 'outcome', 'delivery', 'act', 'breach', 'bootstrap',
        'receipt', 'erased')) NOT VALID,
    ADD CONSTRAINT movements_covered_check CHECK (CASE
        WHEN commitment IS NULL THEN kind <> 'erased' AND octet_length(salt) = 16
            AND (kind = 'decision') = (decision IS NOT NULL)
            AND (decision IS NULL OR num_nonnulls(event_id, status, source, data) = 0)
        ELSE kind = 'erased' AND customer_id = '' AND occurred_at = recorded_at AND octet_length(commitment) = 32
    END) NOT VALID;
COMMENT ON COLUMN movements.commitment IS
    'Of a row that was erased: it has nothing else of what the row said, nor its kind. An act names its place.';

CREATE OR REPLACE FUNCTION refuse_unless_erased() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.commitment IS NULL AND NEW.commitment IS NOT NULL
        AND (NEW.recorded_at, NEW.place, NEW.shard, NEW.link) = (OLD.recorded_at, OLD.place, OLD.shard, OLD.link)
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'movements are append-only: % refused', TG_OP
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'movements_append_only';
END $$;

CREATE OR REPLACE FUNCTION erase_movements(
    keys text[], shards smallint[], places bigint[], commitments bytea[], now timestamptz)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    erased bigint;
BEGIN
    IF EXISTS (
        SELECT FROM unnest(keys, shards, places) AS e (key, shard, place)
        JOIN movements AS m ON hashtextextended(m.key, 0) = hashtextextended(e.key, 0) AND m.key = e.key
            AND (m.shard, m.place) = (e.shard, e.place)
        JOIN movement_months AS r ON r.month = date_trunc('month', m.recorded_at AT TIME ZONE 'UTC')
        WHERE r.retain_until >= (erase_movements.now AT TIME ZONE 'UTC')::date OR is_held(m.customer_id, m.key))
    THEN
        RAISE EXCEPTION 'the history is retained'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'movements_append_only';
    END IF;
    UPDATE movements AS m SET commitment = e.commitment, occurred_at = m.recorded_at, kind = 'erased', customer_id = '',
        salt = NULL, key = NULL, event_id = NULL, status = NULL, source = NULL, data = NULL, decision = NULL
    FROM unnest(keys, shards, places, commitments) AS e (key, shard, place, commitment)
    WHERE hashtextextended(m.key, 0) = hashtextextended(e.key, 0) AND m.key = e.key
        AND (m.shard, m.place) = (e.shard, e.place);
    GET DIAGNOSTICS erased = ROW_COUNT;
    RETURN erased;
END $$;
