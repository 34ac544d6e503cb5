-- Whom İYS is to ask for consent (ViA), and how far that is: izin/ledger/via.py.
CREATE TABLE via_requests (
    id             uuid PRIMARY KEY,
    customer_id    text NOT NULL REFERENCES customers,
    brand_code     integer NOT NULL REFERENCES brands,
    recipient      text NOT NULL,
    recipient_type text NOT NULL CHECK (recipient_type IN ('BIREYSEL', 'TACIR')),
    channels       text[] NOT NULL CHECK (cardinality(channels) > 0),
    -- Of each channel, as both recipient types: an opt-out of any of them ends it.
    keys           text[] NOT NULL,
    way            text NOT NULL,
    form_id        text NOT NULL,
    occasion       text NOT NULL,
    requested_by   text NOT NULL,
    requested_at   timestamptz NOT NULL,
    -- Until when at the latest somebody can consent by it.
    until          timestamptz NOT NULL,
    state          text NOT NULL CHECK (state IN ('waiting', 'asking', 'asked', 'coded', 'confirming', 'consented', 'refused',
        'unknown', 'over')),
    -- İYS's own id; NULL: it has not answered the start.
    request_id     text,
    -- What the person has given back, until İYS has answered to it; encrypted where a key is set.
    code           text,
    result         text,
    -- When a worker looks at it; while one does, until when it has it to itself. NULL: nothing more is done.
    next_at        timestamptz,
    -- How often a worker has taken it up: of two, the later one writes.
    claims         integer NOT NULL DEFAULT 0,
    CHECK (state IN ('waiting', 'asking', 'refused', 'unknown') OR request_id IS NOT NULL),
    CHECK (state IN ('coded', 'confirming') OR code IS NULL)
);
CREATE INDEX via_requests_due ON via_requests (next_at) WHERE next_at IS NOT NULL;
-- Counts what was asked of a person, and finds what is open.
CREATE INDEX via_requests_recipient ON via_requests (recipient, requested_at);
-- Finds what is old.
CREATE INDEX via_requests_requested_at ON via_requests (requested_at);

-- How often İYS will still ask for the provider; -1 is without a limit, NULL: it does not show it, as to partners.
ALTER TABLE brands ADD COLUMN via_credit integer;
