-- What waits after a failed call to İYS, and what it failed for; and what of a customer a month of history has.

ALTER TABLE access_tokens
    -- Two bytes of a digest of the password that the failures are of; NULL: written by an older release.
    ADD COLUMN password_digest bytea;

ALTER TABLE stream_cursors
    -- Since when each call for the stream failed, and what the last one failed for; NULL: the last one succeeded.
    ADD COLUMN failing_since timestamptz,
    ADD COLUMN failure text;

-- Create the partition of the month of a day, as before, with an index that finds out whether it has anything of a
-- customer: a legal hold of the customer keeps it.
CREATE OR REPLACE FUNCTION create_month(day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first date := date_trunc('month', day::timestamp);
    next  date := first + interval '1 month';
    name  text := 'movements_' || to_char(first, 'YYYY_MM');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('izin.movements'));
    IF to_regclass(name) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE movements INCLUDING CONSTRAINTS INCLUDING COMMENTS)', name);
    EXECUTE format('CREATE INDEX %I ON %I USING brin (recorded_at) WITH (autosummarize = on)', name || '_recorded', name);
    EXECUTE format('CREATE INDEX %I ON %I (customer_id)', name || '_customer', name);
    EXECUTE format('CREATE TRIGGER movements_no_truncate BEFORE TRUNCATE ON %I
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name);
    EXECUTE format('ALTER TABLE movements ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        name, first::timestamp AT TIME ZONE 'UTC', next::timestamp AT TIME ZONE 'UTC');
    INSERT INTO movement_months (month, retain_until) VALUES (first, next + interval '10 years')
    ON CONFLICT (month) DO UPDATE SET dropped_at = NULL;
END $$;
