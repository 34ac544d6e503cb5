-- Who signs in to the console (izin/web): accounts, the links by which they sign in once, and their sessions. Of links and
-- sessions only a digest is stored, and of a password its argon2id hash.
CREATE TABLE console_accounts (
    name          text PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}$'),
    role          text NOT NULL CHECK (role IN ('reader', 'operator', 'compliance', 'admin')),
    -- NULL: every customer.
    customers     text[] CHECK (cardinality(customers) > 0),
    password_hash text CHECK (password_hash ~ '^\$argon2id\$'),
    created_at    timestamptz NOT NULL,
    -- Wrong passwords in a row.
    failures      integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    locked_until  timestamptz,
    disabled_at   timestamptz
);
COMMENT ON COLUMN console_accounts.name IS 'With an identity provider the claim that IZIN_CONSOLE_OIDC_CLAIM names.';
COMMENT ON COLUMN console_accounts.password_hash IS 'NULL: it signs in by a link or an identity provider.';
CREATE TABLE console_links (
    digest     bytea PRIMARY KEY CHECK (length(digest) = 32),
    name       text NOT NULL REFERENCES console_accounts ON DELETE CASCADE,
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE console_links IS 'Links by which an account signs in once.';
CREATE TABLE console_sessions (
    digest     bytea PRIMARY KEY CHECK (length(digest) = 32),
    name       text NOT NULL REFERENCES console_accounts ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL
);
-- Finds the sessions of an account that is disabled or changes its password.
CREATE INDEX console_sessions_name ON console_sessions (name);

-- List what people did and looked at, the newest first, without reading the rest of the history: of all, of a customer, of
-- an actor. Changes are few beside looks, so either is found without the other. Every month that is added has them;
-- 0005_history_acts and its neighbours build them for those that there are.
CREATE INDEX history_acts ON ONLY history (((data ->> 'act') = 'look'), recorded_at, shard, place) WHERE kind = 'act';
CREATE INDEX history_acts_of_customer ON ONLY history
    (customer_id, ((data ->> 'act') = 'look'), recorded_at, shard, place) WHERE kind = 'act';
CREATE INDEX history_acts_of_actor ON ONLY history
    ((data ->> 'by'), ((data ->> 'act') = 'look'), recorded_at, shard, place) WHERE kind = 'act';

-- The worklist: what of a brand is parked, and which opt-ins İYS has refused, by why, in the order in which it is due;
-- 0005_worklist builds its index.

-- Why a row is in the worklist: for what it is parked, or with which code İYS refused it.
CREATE FUNCTION worklist_why(state text, reason text, code text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(CASE state WHEN 'refused' THEN code ELSE reason END, '')
$$;
-- Until when a person can act on a row: an opt-in until it expires, an opt-out until it is due.
CREATE FUNCTION worklist_until(expires_at timestamptz, due_at timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(expires_at, due_at, 'infinity')
$$;
-- The report of a customer's month as it was made last: to make it reads all of the customer's history of the month.
CREATE TABLE month_reports (
    customer_id text NOT NULL REFERENCES customers,
    month       date NOT NULL CHECK (extract(day FROM month) = 1),
    made_at     timestamptz NOT NULL,
    -- Figures by brand and channel (izin/views/months.py); of no person.
    rows        json NOT NULL,
    PRIMARY KEY (customer_id, month)
);

-- Whether an event opted a recipient out, by the bytes of its Decision: behind ten bytes of the encoding its kind (Apply),
-- its reason, and `opted_out`.
CREATE FUNCTION opted_out(decision bytea) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN substring(decision FROM 11 FOR 6) = '\x0a4170706c79'::bytea
        THEN substring(decision FROM 18 + get_byte(decision, 16) / 2 FOR 1) = '\x01'::bytea
        ELSE false END
$$;
-- Finds the opt-outs of some days among everything else: the overview counts them, and how long those of İYS took. Every
-- month that is added has it; 0005_history_opt_outs builds it for those that there are.
CREATE INDEX history_opt_outs ON ONLY history (recorded_at) WHERE kind = 'decision' AND opted_out(decision);
-- How the files of a customer are read that are imported in the console: what `izin import --mapping` takes.
CREATE TABLE console_mappings (
    customer_id text NOT NULL REFERENCES customers,
    name        text NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
    mapping     text NOT NULL CHECK (length(mapping) <= 100000),
    saved_at    timestamptz NOT NULL,
    PRIMARY KEY (customer_id, name)
);
COMMENT ON COLUMN console_mappings.mapping IS 'TOML: see izin/producers/mapping/saved.py.';
