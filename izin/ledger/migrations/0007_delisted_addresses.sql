-- What the calls from an egress address show: whether İYS still answers it (izin/ledger/egress.py).
ALTER TABLE rate_limits
    ADD COLUMN answer text CHECK (answer IN ('answered', 'forbidden', 'none')),
    ADD COLUMN answer_since timestamptz,
    ADD COLUMN answer_at timestamptz,
    ADD COLUMN delisted_at timestamptz;
COMMENT ON COLUMN rate_limits.answer IS
    'To the last call: an answer, a 403 without a code of İYS, or none. Each call since answer_since had the same.';
COMMENT ON COLUMN rate_limits.delisted_at IS
    'Since when the address is taken for one that is not on İYS''s list of addresses; NULL: it is on it.';

-- Whether a process of this account serves the brand from these addresses. Processes of the release before have one.
CREATE FUNCTION is_served_by(b brands, account text, addresses text[]) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT (b.account IS NULL OR b.account = is_served_by.account)
        AND (b.egress_address = ANY (addresses) OR (b.egress_address IS NULL AND cardinality(addresses) > 0))
$$;
