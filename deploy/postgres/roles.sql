-- The roles of the ledger. The owner of its tables, who may create roles, runs this after each migration and pg_restore:
--
--     izin doctor --fix --no-running          # with the owner's DATABASE_URL
--     psql "$DATABASE_URL" --single-transaction --set ON_ERROR_STOP=1 --file deploy/postgres/roles.sql
--
-- and makes a login for each process and person:
--
--     CREATE ROLE izin_sink LOGIN PASSWORD '…' IN ROLE izin_worker;
--     CREATE ROLE izin_web LOGIN PASSWORD '…' IN ROLE izin_console;
--     CREATE ROLE ada LOGIN PASSWORD '…' IN ROLE izin_operator;
--     CREATE ROLE bi LOGIN PASSWORD '…' IN ROLE izin_reader;
--     INSERT INTO reading.logins VALUES ('bi', 'acme');    -- the customer whose rows it sees; NULL: every customer
--
-- izin_worker is for every process: it appends to the history, and can neither change nor delete a row of it, nor its
-- triggers, nor the anchors; what the law lets it erase, erase_history does. izin_console is for the console, and for whoever
-- runs `izin accounts`: a worker that alone can read and write who signs in there. izin_operator can retain and drop months, hold
-- them for a case, and rebuild. izin_reader is for whoever looks: it reads the views of the schema reading alone, each cut to
-- the customers of its login and without recipients, and writes nothing but that it looks at one (reading.look). Migrations,
-- `izin ledger restore` and reading.logins are the owner's.

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['izin_worker', 'izin_console', 'izin_operator', 'izin_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        END IF;
    END LOOP;
END $$;
GRANT izin_worker TO izin_console, izin_operator;

-- What was granted before goes first, so that this says all.
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, izin_worker, izin_console, izin_operator, izin_reader;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM PUBLIC, izin_worker, izin_console, izin_operator, izin_reader;
REVOKE CREATE ON SCHEMA public FROM PUBLIC, izin_worker, izin_console, izin_operator, izin_reader;
GRANT USAGE ON SCHEMA public TO izin_worker;
GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO izin_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO izin_worker;

-- The proof: the history and what binds it.
REVOKE UPDATE, DELETE ON history, anchors FROM izin_worker;
REVOKE INSERT, DELETE ON chains FROM izin_worker;
REVOKE INSERT, UPDATE, DELETE ON chain_cuts, history_months, legal_holds, migrations FROM izin_worker;
DO $$
DECLARE
    month regclass;
BEGIN
    -- A month is read and written through the history, whose rights count then.
    FOR month IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'history'::regclass LOOP
        EXECUTE format('REVOKE ALL ON %s FROM izin_worker', month);
    END LOOP;
END $$;
ALTER FUNCTION create_month(date) SECURITY DEFINER SET search_path = public, pg_temp;
ALTER FUNCTION drop_month(date, timestamptz) SECURITY DEFINER SET search_path = public, pg_temp;
REVOKE ALL ON FUNCTION create_month(date), drop_month(date, timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION erase_history(text[], smallint[], bigint[], bytea[], timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION create_month(date) TO izin_worker;
GRANT EXECUTE ON FUNCTION erase_history(text[], smallint[], bigint[], bytea[], timestamptz) TO izin_worker;

-- Who signs in to the console: whoever could write this would be anybody there.
REVOKE ALL ON console_accounts, console_links, console_mappings, console_sessions FROM izin_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON console_accounts, console_links, console_mappings, console_sessions TO izin_console;

-- What people order about it.
GRANT INSERT, UPDATE ON legal_holds TO izin_operator;
GRANT UPDATE ON history_months TO izin_operator;
GRANT INSERT ON chain_cuts TO izin_operator;
GRANT EXECUTE ON FUNCTION drop_month(date, timestamptz) TO izin_operator;
GRANT TRUNCATE, MAINTAIN ON shadow_consents, shadow_slices, shadow_differences TO izin_operator;

-- Whoever looks ------------------------------------------------------------------------------------------------------

-- Not policies on the tables: under row-level security PostgreSQL refuses COPY, by which workers write. The views are the
-- owner's, so that a reader needs no right on a table, and barriers: no condition of a reader sees a row of another customer.
DO $$
BEGIN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC, izin_reader', current_database());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO izin_worker', current_database());
END $$;
CREATE SCHEMA IF NOT EXISTS reading;

-- Whose rows a login sees. Without a row here it sees none. NULL: those of every customer.
CREATE TABLE IF NOT EXISTS reading.logins (
    login       name NOT NULL,
    customer_id text REFERENCES public.customers,
    UNIQUE NULLS NOT DISTINCT (login, customer_id)
);

-- The customers of this login; '' is who has what belongs to nobody, or to all.
CREATE OR REPLACE FUNCTION reading.customers() RETURNS text[]
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
RETURN ARRAY(
    SELECT c.customer_id
    FROM (SELECT customer_id FROM public.customers UNION ALL SELECT '') AS c
    WHERE EXISTS (
        SELECT FROM reading.logins AS l
        WHERE l.login = session_user AND (l.customer_id IS NULL OR l.customer_id = c.customer_id)));

-- Their brands of today.
CREATE OR REPLACE FUNCTION reading.brands() RETURNS integer[]
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
RETURN ARRAY(
    SELECT b.brand_code
    FROM (SELECT brand_code, customer_id FROM public.brands UNION ALL SELECT brand_code, '' FROM public.unknown_brands) AS b
    WHERE b.customer_id = ANY(reading.customers()));

-- A recipient as the logs have it (izin.runtime.masking).
CREATE OR REPLACE FUNCTION reading.masked(recipient text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN recipient ~ '@|%40|＠'
        THEN left(regexp_replace(recipient, '(@|%40|＠).*$', ''), 1) || '***@' || regexp_replace(recipient, '^.*(@|%40|＠)', '')
    WHEN length(recipient) <= 4 THEN '***'
    ELSE left(recipient, 3) || '***' || right(recipient, 2)
END;

-- A word of people or senders, masked where it looks like a recipient.
CREATE OR REPLACE FUNCTION reading.word(word text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN word ~ '@|%40|＠|[0-9]([^0-9]{0,3}[0-9]){8}' THEN reading.masked(word) ELSE word END;

-- Of a key (brand/channel/recipient type/recipient) the recipient, masked; of any other key nothing.
CREATE OR REPLACE FUNCTION reading.masked_of(key text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN key ~ '^[0-9]+/' THEN reading.masked(regexp_replace(key, '^[^/]*/[^/]*/[^/]*/', '')) END;

-- The brand that a key names: of a consent, or of what a person did to a brand.
CREATE OR REPLACE FUNCTION reading.brand_of(key text) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN substring(key FROM '^(?:brand/)?([0-9]{1,9})(?:/|$)')::integer;

CREATE OR REPLACE VIEW reading.customers WITH (security_barrier) AS
SELECT customer_id, name, kind, iys_code, created_at, offboarded_at
FROM public.customers WHERE customer_id = ANY((SELECT reading.customers())::text[]);

CREATE OR REPLACE VIEW reading.brands WITH (security_barrier) AS
SELECT brand_code, customer_id, iys_code, name, status, suspension IS NOT NULL AS is_suspended, activated_at,
    loading_deadline, subscription, subscription_ends_at, consent_limit, consents_used, queried_at
FROM public.brands WHERE customer_id = ANY((SELECT reading.customers())::text[]);

-- Desired, registered, and what is due.
CREATE OR REPLACE VIEW reading.consents WITH (security_barrier) AS
SELECT brand_code, channel, recipient_type, reading.masked(recipient) AS recipient, desired_status, desired_at,
    reading.word(desired_source) AS desired_source, desired_consent_date, received_at, registered, registered_at,
    reading.word(registered_source) AS registered_source, registered_consent_date, verified_at, state, action,
    reading.word(reason) AS reason, code, due_at, expires_at, attempts, may_send,
    permission_reason, permission_since, updated_at
FROM public.consents WHERE brand_code = ANY((SELECT reading.brands())::integer[]);

CREATE OR REPLACE VIEW reading.history WITH (security_barrier) AS
SELECT recorded_at, occurred_at, kind, status, reading.brand_of(key) AS brand_code, split_part(key, '/', 2) AS channel,
    split_part(key, '/', 3) AS recipient_type, reading.masked_of(key) AS recipient
FROM public.history WHERE key ~ '^[0-9]+/' AND reading.brand_of(key) = ANY((SELECT reading.brands())::integer[]);

-- What people did, looks at recipients among it, whose reasons are for auditors; other reasons may name anybody.
CREATE OR REPLACE VIEW reading.acts WITH (security_barrier) AS
SELECT recorded_at, data ->> 'act' AS act, reading.word(data ->> 'by') AS by,
    CASE data ->> 'act' WHEN 'look' THEN reading.word(coalesce(data #>> '{after,reason}', data #>> '{after,command}')) END
        AS why,
    CASE WHEN key ~ '^(brand|customer|api-key|subscriber|sweep|complaint|erasure)/' THEN reading.word(key)
        WHEN key ~ '^[0-9]+/' THEN 'consent' ELSE split_part(key, '/', 1) END AS subject,
    reading.brand_of(key) AS brand_code, reading.masked_of(key) AS recipient
FROM public.history
WHERE kind = 'act' AND CASE
    WHEN reading.brand_of(key) IS NULL THEN customer_id = ANY((SELECT reading.customers())::text[])
    ELSE reading.brand_of(key) = ANY((SELECT reading.brands())::integer[])
END;

CREATE OR REPLACE VIEW reading.submissions WITH (security_barrier) AS
SELECT id, brand_code, kind, state, intended_at, answered_at, settled_at, polls, sends, refusals, code
FROM public.submissions WHERE brand_code = ANY((SELECT reading.brands())::integer[]);

CREATE OR REPLACE VIEW reading.submission_items WITH (security_barrier) AS
SELECT submission_id, index, reading.brand_of(key) AS brand_code, split_part(key, '/', 2) AS channel,
    split_part(key, '/', 3) AS recipient_type, reading.masked_of(key) AS recipient, status, consent_date,
    state, code
FROM public.submission_items WHERE reading.brand_of(key) = ANY((SELECT reading.brands())::integer[]);

CREATE OR REPLACE VIEW reading.suspensions WITH (security_barrier) AS
SELECT brand_code, channel, status, code, scope, since, recheck_at, rechecks
FROM public.suspensions WHERE brand_code = ANY((SELECT reading.brands())::integer[]);

CREATE OR REPLACE VIEW reading.suspension_orders WITH (security_barrier) AS
SELECT id, customer_id, brand_code, part, reading.word(ordered_by) AS ordered_by, since
FROM public.suspension_orders
WHERE brand_code = ANY((SELECT reading.brands())::integer[]) OR customer_id = ANY((SELECT reading.customers())::text[]);

CREATE OR REPLACE VIEW reading.automatic_suspensions WITH (security_barrier) AS
SELECT id, brand_code, reading.word(source) AS source, status, tripped_at, keys, opted_in, share, decision, decided_at,
    reading.word(decided_by) AS decided_by
FROM public.brakes WHERE brand_code = ANY((SELECT reading.brands())::integer[]);

CREATE OR REPLACE VIEW reading.complaints WITH (security_barrier) AS
SELECT id, brand_code, channel, reading.masked(recipient) AS recipient, sent_at, due_at, entered_at,
    reading.word(entered_by) AS entered_by, closed_at, reading.word(closed_by) AS closed_by, outcome
FROM public.complaints WHERE brand_code = ANY((SELECT reading.brands())::integer[]);

CREATE OR REPLACE VIEW reading.erasures WITH (security_barrier) AS
SELECT id, customer_id, requested_at, acknowledged_at, removed_at, ended_at, erased_at
FROM public.erasures WHERE customer_id = ANY((SELECT reading.customers())::text[]);

CREATE OR REPLACE VIEW reading.api_keys WITH (security_barrier) AS
SELECT id, name, scopes, ARRAY(SELECT unnest(customers) INTERSECT SELECT unnest(reading.customers())) AS customers,
    ARRAY(SELECT unnest(brands) INTERSECT SELECT unnest(reading.brands())) AS brands, channels, created_at, expires_at,
    revoked_at, replaced_at
FROM public.api_keys WHERE customers && (SELECT reading.customers())::text[];

-- Of an address the host: what follows it may be a secret.
CREATE OR REPLACE VIEW reading.webhooks WITH (security_barrier) AS
SELECT id, customer_id, name, substring(url FROM '^https?://(?:[^@/?#]*@)?([^@:/?#]+)') AS host, types, brands, channels,
    parallel, version, created_at, paused_at, paused_for, failing_since, alerts, last_failure_at, caught_up_at
FROM public.subscribers WHERE customer_id = ANY((SELECT reading.customers())::text[]);

CREATE OR REPLACE VIEW reading.deliveries WITH (security_barrier) AS
SELECT subscriber_id, type, attempts, status, delivered_at, resend_id, reading.brand_of(key) AS brand_code,
    reading.masked_of(key) AS recipient
FROM public.deliveries
WHERE customer_id = ANY((SELECT reading.customers())::text[])
    AND (key IS NULL OR reading.brand_of(key) = ANY((SELECT reading.brands())::integer[]));

CREATE OR REPLACE VIEW reading.daily_files WITH (security_barrier) AS
SELECT brand_code, day, state, attempts, lines, fetched_at, only_at_iys, only_here, compared_at, redacted, timestamp_state,
    timestamped_at, reading.word(agree_ordered_by) AS agree_ordered_by, agreed_at
FROM public.daily_files WHERE brand_code = ANY((SELECT reading.brands())::integer[]);

CREATE OR REPLACE VIEW reading.pulls WITH (security_barrier) AS
SELECT brand_code, stream, last_attempt_at, last_pulled_at, since, next_at, restarts, failing_since
FROM public.stream_cursors WHERE brand_code = ANY((SELECT reading.brands())::integer[]);

CREATE OR REPLACE VIEW reading.register_counts WITH (security_barrier) AS
SELECT * FROM public.register_counts WHERE brand_code = ANY((SELECT reading.brands())::integer[]);

CREATE OR REPLACE VIEW reading.sequence_gaps WITH (security_barrier) AS
SELECT customer_id, reading.word(origin) AS origin, first_number, last_number, since
FROM public.sequence_gaps WHERE customer_id = ANY((SELECT reading.customers())::text[]);

-- The keys that a recipient may have with the brands of this login, and those brands' customers.
CREATE OR REPLACE FUNCTION reading.keys(recipient text) RETURNS TABLE (key text, customer_id text)
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT concat_ws('/', b.brand_code, w.channel, t.recipient_type, keys.recipient), coalesce(o.customer_id, '')
    FROM unnest(reading.brands()) AS b (brand_code)
    CROSS JOIN unnest(ARRAY['ARAMA', 'EPOSTA', 'MESAJ']) AS w (channel)
    CROSS JOIN unnest(ARRAY['BIREYSEL', 'TACIR']) AS t (recipient_type)
    LEFT JOIN brands AS o ON o.brand_code = b.brand_code
$$;

-- What is stored of a look, so that its number shows that recipient alone, and nobody without the number learns whom.
CREATE OR REPLACE FUNCTION reading.digest(look uuid, recipient text) RETURNS text LANGUAGE sql IMMUTABLE
RETURN encode(sha256(convert_to(look || ' ' || recipient, 'UTF8')), 'hex');

-- Say that this login looks at a recipient, and why; returns the number by which reading.looked shows it once this is
-- committed: shown at once, a ROLLBACK would undo the look and leave what was seen. The history has it under each key that
-- is known of the recipient, else under one that names nobody, linked as every entry (izin/ledger/history).
CREATE OR REPLACE FUNCTION reading.look(recipient text, reason text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    number  uuid := gen_random_uuid();
    chain   chains;
    entry   record;
    content text;
    said    json;
    salt    bytea;
BEGIN
    IF coalesce(look.reason, '') !~ '[[:alnum:]]{3}' OR length(look.reason) > 500 THEN
        RAISE EXCEPTION 'a look needs a reason of 3 to 500 characters, such as the number of a ticket'
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF coalesce(look.recipient, '') = '' THEN
        RAISE EXCEPTION 'a look needs a recipient: a phone number as +905…, or an e-mail address'
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF cardinality(reading.customers()) = 0 THEN
        RAISE EXCEPTION 'this login sees no customer; the owner names one in reading.logins'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    -- One chain of sixteen, the one that workers take last: a reader who does not commit keeps other readers waiting.
    SELECT * INTO chain FROM chains WHERE shard = 15 FOR UPDATE;
    chain.recorded_at := greatest(clock_timestamp(), chain.recorded_at);
    -- For the same reason it is a worker who begins a month.
    IF NOT EXISTS (
        SELECT FROM history_months AS m
        WHERE m.month = date_trunc('month', chain.recorded_at AT TIME ZONE 'UTC') AND m.dropped_at IS NULL)
    THEN
        RAISE EXCEPTION 'the history has no entry of this month yet; try again once a worker has written one'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    said := json_build_object('act', 'look', 'by', session_user, 'before', json '{}', 'after', json_build_object(
        'command', 'reading.look', 'reason', look.reason, 'look', reading.digest(number, look.recipient),
        'transaction', pg_current_xact_id()::text));
    FOR entry IN
        WITH known AS (
            SELECT k.key, k.customer_id FROM reading.keys(look.recipient) AS k
            WHERE EXISTS (SELECT FROM consents AS c WHERE c.key = k.key)
                OR EXISTS (
                    SELECT FROM history AS h
                    WHERE hashtextextended(h.key, 0) = hashtextextended(k.key, 0) AND h.key = k.key)
        )
        SELECT * FROM known
        UNION ALL
        SELECT 'person/unnamed', CASE cardinality(reading.customers()) WHEN 1 THEN (reading.customers())[1] ELSE '' END
        WHERE NOT EXISTS (SELECT FROM known)
    LOOP
        chain.place := chain.place + 1;
        salt := substring(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) FOR 16);
        content := concat(
            '[', chain.place, ', "act", ', to_json(entry.customer_id), ', ', to_json(entry.key), ', null, null, ',
            to_json('act/look/' || number || '/' || entry.key), ', ',
            (extract(epoch FROM chain.recorded_at) * 1000000)::bigint, ', ',
            (extract(epoch FROM chain.recorded_at) * 1000000)::bigint, ', ', said, ']');
        chain.link := sha256(chain.link || sha256(salt || convert_to(content, 'UTF8')));
        INSERT INTO history (recorded_at, occurred_at, place, shard, kind, link, salt, key, customer_id, source, data)
        VALUES (chain.recorded_at, chain.recorded_at, chain.place, chain.shard, 'act', chain.link, salt, entry.key,
            entry.customer_id, 'act/look/' || number || '/' || entry.key, said);
    END LOOP;
    UPDATE chains AS c SET place = chain.place, link = chain.link, recorded_at = chain.recorded_at
    WHERE c.shard = chain.shard;
    RETURN number;
END $$;

-- Show what is known of the recipient at whom this login looked under that number, within a quarter of an hour.
CREATE OR REPLACE FUNCTION reading.looked(look uuid, recipient text)
RETURNS TABLE (kind text, key text, at timestamptz, content json)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    wanted text[] := ARRAY(SELECT k.key FROM reading.keys(looked.recipient) AS k);
BEGIN
    IF NOT EXISTS (
        SELECT FROM unnest(wanted || 'person/unnamed'::text) AS w (key)
        JOIN history AS h ON hashtextextended(h.key, 0) = hashtextextended(w.key, 0) AND h.key = w.key
        WHERE h.recorded_at > clock_timestamp() - interval '15 minutes' AND h.kind = 'act'
            AND h.data ->> 'by' = session_user AND h.data #>> '{after,look}' = reading.digest(looked.look, looked.recipient)
            AND h.data #>> '{after,transaction}' IS DISTINCT FROM pg_current_xact_id_if_assigned()::text)
    THEN
        RAISE EXCEPTION 'no look of this login at this recipient; SELECT reading.look(recipient, reason), and COMMIT, first'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN QUERY
        SELECT 'consent', c.key, c.updated_at, (to_jsonb(c) - '{lease_owner,lease_until}'::text[])::json
        FROM consents AS c WHERE c.key = ANY(wanted);
    RETURN QUERY
        SELECT h.kind, h.key, h.recorded_at, h.data
        FROM unnest(wanted) AS w (key)
        JOIN history AS h ON hashtextextended(h.key, 0) = hashtextextended(w.key, 0) AND h.key = w.key
        ORDER BY h.recorded_at, h.shard, h.place;
END $$;

REVOKE ALL ON SCHEMA reading FROM PUBLIC, izin_reader;
REVOKE ALL ON ALL TABLES IN SCHEMA reading FROM PUBLIC, izin_reader;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA reading FROM PUBLIC, izin_reader;
GRANT USAGE ON SCHEMA reading TO izin_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA reading TO izin_reader;
REVOKE ALL ON reading.logins FROM izin_reader;
GRANT EXECUTE ON FUNCTION reading.customers(), reading.brands(), reading.masked(text), reading.word(text),
    reading.masked_of(text), reading.brand_of(text), reading.look(text, text), reading.looked(uuid, text) TO izin_reader;
