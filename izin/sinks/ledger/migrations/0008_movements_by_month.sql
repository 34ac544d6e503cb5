-- History by the month, in fewer bytes. A decision is kept as the bytes in which the topic brought it, and is not told
-- a second time beside them; what a fact says besides is JSON, word for word as it was linked. Links are reckoned by
-- whoever writes (izin/sinks/ledger/history/append.py), by the rule that every row so far was linked by, so the chains go on.
ALTER TABLE movements RENAME TO movements_before;
ALTER INDEX movements_key RENAME TO movements_before_key;
ALTER INDEX movements_pkey RENAME TO movements_before_pkey;

CREATE TABLE movements (
    recorded_at timestamptz NOT NULL,
    occurred_at timestamptz NOT NULL,
    place       bigint NOT NULL,
    shard       smallint NOT NULL,
    kind        text NOT NULL CHECK (kind IN (
        'decision', 'call', 'answer', 'observation', 'outcome', 'delivery', 'act', 'breach')),
    link        bytea NOT NULL,
    key         text NOT NULL,
    customer_id text NOT NULL,
    event_id    text,
    status      text,
    source      text,
    data        json,
    decision    bytea,
    CHECK ((data IS NULL) <> (decision IS NULL)),
    CHECK (decision IS NOT NULL OR source IS NOT NULL)
) PARTITION BY RANGE (recorded_at);
COMMENT ON COLUMN movements.recorded_at IS 'Never earlier than the row before it on its chain.';
COMMENT ON COLUMN movements.decision IS 'An Avro Decision in single-object encoding; it tells event, status and source, too.';

-- The digest of a key takes a third of the key's room.
CREATE INDEX movements_key ON movements (hashtextextended(key, 0));
CREATE INDEX movements_breaches ON movements (recorded_at) WHERE kind = 'breach';
CREATE TRIGGER movements_append_only BEFORE UPDATE OR DELETE ON movements
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER movements_no_truncate BEFORE TRUNCATE ON movements
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The months there are, how long each is kept, and which are gone.
CREATE TABLE movement_months (
    month        date PRIMARY KEY CHECK (extract(day FROM month) = 1),
    retain_until date NOT NULL,
    dropped_at   timestamptz
);

-- Makes room for a month of UTC, kept for ten years. Attached, not created in place: writers need not wait.
CREATE FUNCTION keep_month(day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first date := date_trunc('month', day::timestamp);
    next  date := first + interval '1 month';
    room  text := 'movements_' || to_char(first, 'YYYY_MM');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('izin.movements'));
    IF to_regclass(room) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE movements INCLUDING CONSTRAINTS INCLUDING COMMENTS)', room);
    EXECUTE format('CREATE TRIGGER movements_no_truncate BEFORE TRUNCATE ON %I
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', room);
    EXECUTE format('ALTER TABLE movements ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        room, first::timestamp AT TIME ZONE 'UTC', next::timestamp AT TIME ZONE 'UTC');
    INSERT INTO movement_months (month, retain_until) VALUES (first, next + interval '10 years')
    ON CONFLICT (month) DO UPDATE SET dropped_at = NULL;
END $$;

-- What a court, an authority or a dispute needs is not dropped: everything of a customer, or of a key.
CREATE TABLE legal_holds (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id text NOT NULL,
    key         text,
    why         text NOT NULL,
    since       timestamptz NOT NULL,
    lifted_at   timestamptz
);
COMMENT ON COLUMN legal_holds.key IS 'Null: every key of the customer.';

-- From where on a chain is kept: its last row that was dropped with its month. The same place is anchored outside.
CREATE TABLE chain_cuts (
    shard  smallint NOT NULL REFERENCES chains,
    place  bigint NOT NULL,
    link   bytea NOT NULL,
    cut_at timestamptz NOT NULL,
    PRIMARY KEY (shard, place)
);
CREATE TRIGGER chain_cuts_append_only BEFORE UPDATE OR DELETE ON chain_cuts
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER chain_cuts_no_truncate BEFORE TRUNCATE ON chain_cuts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- How far the decisions on each input partition have been recorded: what lies beyond is certainly new, and only what
-- lies before is looked for among the movements.
CREATE TABLE decided (
    topic       text NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);

ALTER TABLE chains ADD COLUMN recorded_at timestamptz;
COMMENT ON COLUMN chains.recorded_at IS 'Of its last row, so that a chain runs through the months in order.';
UPDATE chains AS c SET recorded_at = m.recorded_at
FROM (SELECT shard, max(recorded_at) AS recorded_at FROM movements_before GROUP BY shard) AS m
WHERE m.shard = c.shard;

SELECT keep_month(month) FROM (
    SELECT DISTINCT date_trunc('month', recorded_at AT TIME ZONE 'UTC')::date AS month FROM movements_before
) AS months;
INSERT INTO movements (recorded_at, occurred_at, place, shard, kind, link, key, customer_id, event_id, status, source,
    data)
SELECT recorded_at, occurred_at, place, shard, kind, link, key, customer_id, event_id, status, source, data::text::json
FROM movements_before ORDER BY shard, place;
-- Of what was kept before, the coordinates were the beginning of the source: topic/partition/offset/event.
INSERT INTO decided (topic, partition, next_offset)
SELECT split_part(source, '/', 1), split_part(source, '/', 2)::integer, max(split_part(source, '/', 3)::bigint) + 1
FROM movements_before WHERE kind = 'decision' GROUP BY 1, 2;

DROP TABLE movements_before;
DROP FUNCTION append_movements(json);
DROP AGGREGATE links(bytea);
DROP FUNCTION link_on(bytea, bytea);
DROP FUNCTION movement_said(bigint, text, text, text, text, text, text, timestamptz, timestamptz, jsonb);
