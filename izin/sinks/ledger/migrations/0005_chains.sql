-- History is evidence, so each row is linked to the one before it: link = sha256(link before || what the row says). Rows
-- hang on one of sixteen chains, whichever is free when a transaction writes; a row's place tells where in its chain it
-- stands. Heads are anchored outside the ledger, and `izin ledger verify` finds every row that was changed, taken out
-- or moved before the last anchor.

-- What a row says, in one form for whoever links or verifies it.
CREATE FUNCTION movement_said(
    place bigint, kind text, customer_id text, key text, event_id text, status text, source text,
    occurred_at timestamptz, recorded_at timestamptz, data jsonb
) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT jsonb_build_array(
        place, kind, customer_id, key, event_id, status, source,
        (extract(epoch FROM occurred_at) * 1000000)::bigint, (extract(epoch FROM recorded_at) * 1000000)::bigint,
        data)::text
$$;

-- The first item is the link that a chain goes on from; each further one what a row says.
CREATE FUNCTION link_on(link bytea, item bytea) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN link IS NULL THEN item ELSE sha256(link || item) END
$$;
CREATE AGGREGATE links(bytea) (SFUNC = link_on, STYPE = bytea);

CREATE TABLE chains (
    shard smallint PRIMARY KEY,
    place bigint NOT NULL,
    link  bytea NOT NULL
);
INSERT INTO chains (shard, place, link)
SELECT n, 0, sha256(convert_to('izin movements ' || n, 'UTF8')) FROM generate_series(0, 15) AS n;

-- Rows that were written before there were chains stand on the first one, in the order of their ids.
ALTER TABLE movements ADD COLUMN shard smallint, ADD COLUMN place bigint, ADD COLUMN link bytea;
ALTER TABLE movements DISABLE TRIGGER movements_append_only;
UPDATE movements AS m SET shard = 0, place = o.place
FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM movements) AS o WHERE o.id = m.id;
UPDATE movements AS m SET link = l.link
FROM (
    SELECT s.place, links(s.item) OVER (ORDER BY s.place) AS link
    FROM (
        SELECT 0::bigint AS place, link AS item FROM chains WHERE shard = 0
        UNION ALL
        SELECT place, convert_to(movement_said(place, kind, customer_id, key, event_id, status, source,
            occurred_at, recorded_at, data), 'UTF8') FROM movements
    ) AS s
) AS l
WHERE l.place = m.place;
UPDATE chains AS c SET place = m.place, link = m.link
FROM (SELECT place, link FROM movements ORDER BY place DESC LIMIT 1) AS m WHERE c.shard = 0;
ALTER TABLE movements ENABLE TRIGGER movements_append_only;
ALTER TABLE movements
    ALTER COLUMN shard SET NOT NULL, ALTER COLUMN place SET NOT NULL, ALTER COLUMN link SET NOT NULL,
    DROP CONSTRAINT movements_pkey, ADD PRIMARY KEY (shard, place),
    DROP CONSTRAINT movements_source_key;
-- A source is long, and its digest as unique.
CREATE UNIQUE INDEX movements_source_key ON movements ((md5(source)::uuid));

-- The one way in. Facts whose source is known already are repetitions and change nothing. Takes whichever chain no
-- other transaction holds; where all are held, waits for one.
CREATE FUNCTION append_movements(facts json) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    chain chains;
    appended bigint;
BEGIN
    SELECT * INTO chain FROM chains ORDER BY shard LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        SELECT * INTO chain FROM chains WHERE shard = pg_backend_pid() % 16 FOR UPDATE;
    END IF;
    WITH told AS (
        SELECT m.*, f.place AS told_place
        FROM json_array_elements(facts) WITH ORDINALITY AS f (fact, place)
        CROSS JOIN LATERAL json_to_record(f.fact) AS m (
            kind text, customer_id text, key text, event_id text, status text, source text,
            occurred_at timestamptz, recorded_at timestamptz, data jsonb)
    ), fresh AS (
        SELECT t.*, chain.place + row_number() OVER (ORDER BY t.told_place) AS place
        FROM (SELECT DISTINCT ON (source) * FROM told ORDER BY source, told_place) AS t
        WHERE NOT EXISTS (SELECT 1 FROM movements AS m WHERE md5(m.source)::uuid = md5(t.source)::uuid)
    ), said AS (
        SELECT chain.place AS place, chain.link AS item
        UNION ALL
        SELECT f.place, convert_to(movement_said(f.place, f.kind, f.customer_id, f.key, f.event_id, f.status,
            f.source, f.occurred_at, f.recorded_at, f.data), 'UTF8')
        FROM fresh AS f
    ), linked AS (
        SELECT s.place, links(s.item) OVER (ORDER BY s.place) AS link FROM said AS s
    ), kept AS (
        INSERT INTO movements (
            kind, customer_id, key, event_id, status, source, occurred_at, recorded_at, data, shard, place, link)
        SELECT f.kind, f.customer_id, f.key, f.event_id, f.status, f.source, f.occurred_at, f.recorded_at, f.data,
            chain.shard, f.place, l.link
        FROM fresh AS f JOIN linked AS l ON l.place = f.place
        ORDER BY f.place
        RETURNING place, link
    ), head AS (
        UPDATE chains AS c SET place = k.place, link = k.link
        FROM (SELECT place, link FROM kept ORDER BY place DESC LIMIT 1) AS k
        WHERE c.shard = chain.shard
    )
    SELECT count(*) INTO appended FROM kept;
    RETURN appended;
END $$;

-- Heads of chains as they were told to the world outside: by the topic, and by the file of whoever anchors.
CREATE TABLE anchors (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shard       smallint NOT NULL REFERENCES chains,
    place       bigint NOT NULL,
    link        bytea NOT NULL,
    anchored_at timestamptz NOT NULL,
    UNIQUE (shard, place)
);
CREATE TRIGGER anchors_append_only BEFORE UPDATE OR DELETE ON anchors
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER anchors_no_truncate BEFORE TRUNCATE ON anchors
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
