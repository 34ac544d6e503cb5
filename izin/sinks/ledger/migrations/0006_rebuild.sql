-- Rebuilds: what the rows of consents follow from, computed again from the history, and what differs. Nothing here is the
-- only copy of anything, so the tables are not logged: after a crash of the server they are empty, and a rebuild begins
-- anew.

-- What the history makes of one key: the columns of consents that follow from decisions alone, and the terms.
CREATE UNLOGGED TABLE shadow_consents (
    key                  text PRIMARY KEY,
    customer_id          text NOT NULL,
    brand_code           integer NOT NULL,
    channel              text NOT NULL,
    recipient_type       text NOT NULL,
    recipient            text NOT NULL,
    desired_status       text,
    desired_at           timestamptz,
    desired_rank         smallint,
    desired_event_id     text,
    desired_origin       text,
    desired_origin_ref   text,
    desired_source       text,
    desired_consent_date timestamptz,
    received_at          timestamptz,
    notice_version       text,
    registrable          boolean NOT NULL,
    attested             boolean NOT NULL,
    retailer_code        integer,
    retailer_access      integer[],
    latest_onay_at       timestamptz,
    latest_ret_at        timestamptz,
    due_at               timestamptz,
    expires_at           timestamptz,
    -- The opt-in of another customer over an opt-out: whether it took the row depends on what was due then, which no
    -- decision says.
    passed_over          text,
    -- Why a person must act before anything is submitted, as far as decisions say.
    parked               text
);

-- A part of the keys that is done. The rows of a part and its entry here are written in one transaction.
CREATE UNLOGGED TABLE shadow_slices (
    rebuild   text NOT NULL,
    slice     integer NOT NULL,
    movements bigint NOT NULL DEFAULT 0,
    keys      bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (rebuild, slice)
);

-- A key whose row differs from what the history makes of it.
CREATE UNLOGGED TABLE shadow_differences (
    key  text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('missing', 'surplus', 'newer', 'differing', 'terms'))
);
COMMENT ON COLUMN shadow_differences.kind IS
    'missing: there is no row. surplus: no decision is left in the history. newer: the row has something later than '
    'the history. differing: another event or other fields of it. terms: only the ends of its term.';

-- A key whose latest record in the topic of permissions is not what its row says, of which rebuild.
CREATE UNLOGGED TABLE permission_differences (
    key         text PRIMARY KEY,
    rebuild     text NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('missing', 'surplus', 'differing')),
    customer_id text NOT NULL,
    -- What the topic says. NULL: nothing.
    may_send    boolean
);
COMMENT ON COLUMN permission_differences.kind IS
    'missing: the topic has no record. surplus: there is no row. differing: another answer, reason, instant or retailers.';

-- Whether a key is selected: one of these keys or recipients, of one of these brands. NULL: any.
CREATE FUNCTION is_selected(key text, keys text[], recipients text[], brands text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (keys IS NULL AND recipients IS NULL OR is_selected.key = ANY(keys)
            OR substring(is_selected.key FROM '^[^/]*/[^/]*/[^/]*/(.*)$') = ANY(recipients))
        AND (brands IS NULL OR split_part(is_selected.key, '/', 1) = ANY(brands))
$$;
