-- Complaints about messages, which people enter: İYS has no API for them.

-- A complaint, and the request of an authority about it. While it is open, a legal hold keeps the history of the keys that
-- it concerns.
CREATE TABLE complaints (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id     text NOT NULL REFERENCES customers,
    brand_code      integer NOT NULL REFERENCES brands,
    channel         text NOT NULL CHECK (channel IN ('ARAMA', 'MESAJ', 'EPOSTA')),
    recipient       text NOT NULL CHECK (recipient <> ''),
    -- When the message was sent, by the complaint, under which name or number, and what it said.
    sent_at         timestamptz NOT NULL,
    sender          text NOT NULL CHECK (sender <> ''),
    content         text NOT NULL CHECK (content <> ''),
    -- The number of the file at the authority.
    reference       text CHECK (reference <> ''),
    -- By when the request is to be answered, as it says itself. NULL: it names no day; no rule gives one.
    due_at          timestamptz,
    entered_at      timestamptz NOT NULL,
    entered_by      text NOT NULL,
    hold_ids        bigint[] NOT NULL,
    -- The archive of evidence that was handed out: where it was, and its SHA-256.
    evidence_path   text,
    evidence_sha256 text CHECK (evidence_sha256 ~ '^[0-9a-f]{64}$'),
    closed_at       timestamptz,
    closed_by       text,
    outcome         text CHECK (outcome IN ('unfounded', 'justified', 'fined', 'withdrawn')),
    note            text CHECK (note <> ''),
    CHECK (num_nulls(evidence_path, evidence_sha256) IN (0, 2)),
    CHECK (num_nulls(closed_at, closed_by, outcome) IN (0, 3))
);
-- Lists the open ones by what is due first, and counts them.
CREATE INDEX complaints_open ON complaints (due_at, id) WHERE closed_at IS NULL;
-- Finds those of a recipient.
CREATE INDEX complaints_recipient ON complaints (hashtextextended(recipient, 0));

-- Create the partition of the month of a day, retained for ten years. It is attached and not created in place, so that
-- writers need not wait. A month that was dropped before can be written again. Rows are in the order of their recording,
-- so that a block range index finds those of an hour: evidence reads the rows up to the next anchor, and the report of
-- latencies those of a day.
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
    EXECUTE format('CREATE TRIGGER movements_no_truncate BEFORE TRUNCATE ON %I
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name);
    EXECUTE format('ALTER TABLE movements ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        name, first::timestamp AT TIME ZONE 'UTC', next::timestamp AT TIME ZONE 'UTC');
    INSERT INTO movement_months (month, retain_until) VALUES (first, next + interval '10 years')
    ON CONFLICT (month) DO UPDATE SET dropped_at = NULL;
END $$;
