-- The simulator's tables. Rows of movements are written once; records and counts are replaced.

-- Every accepted movement, in the order of acceptance over all brands.
CREATE TABLE IF NOT EXISTS movements (
    id INTEGER PRIMARY KEY,
    brand INTEGER NOT NULL,
    is_citizens INTEGER NOT NULL,  -- the pull stream of the movement: 1 IYS, 0 HS
    second INTEGER NOT NULL,       -- creation date, epoch seconds
    type TEXT NOT NULL,
    recipient_type TEXT NOT NULL,
    recipient TEXT NOT NULL,
    status TEXT NOT NULL,
    source TEXT NOT NULL,
    consent_date TEXT NOT NULL,
    retailer_code INTEGER,
    retailer_access TEXT,          -- a JSON list
    citizen_name TEXT,
    occurred_at INTEGER NOT NULL,
    sequence INTEGER NOT NULL,     -- number among the brand's movements, from 1
    previous INTEGER,              -- the key's previous movement
    is_change INTEGER NOT NULL,
    origin INTEGER NOT NULL,
    item INTEGER                   -- place in a batch, from 0
);
CREATE INDEX IF NOT EXISTS movements_by_time ON movements (brand, is_citizens, second);

-- Who wrote movements: one row for each call.
CREATE TABLE IF NOT EXISTS origins (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL,
    client TEXT NOT NULL,
    request_id TEXT NOT NULL
);

-- The current record of each key. The recipient comes first: quotas depend on whether it has any.
CREATE TABLE IF NOT EXISTS records (
    brand INTEGER NOT NULL,
    recipient TEXT NOT NULL,
    type TEXT NOT NULL,
    recipient_type TEXT NOT NULL,
    status TEXT NOT NULL,
    consent_date TEXT NOT NULL,
    movement INTEGER NOT NULL,
    count INTEGER NOT NULL,        -- movements of the key so far
    has_access INTEGER NOT NULL,   -- whether any retailer may use the consent
    PRIMARY KEY (brand, recipient, type, recipient_type)
) WITHOUT ROWID;

-- Which retailers may use which consent; the retailer that obtained it is marked.
CREATE TABLE IF NOT EXISTS access (
    brand INTEGER NOT NULL,
    recipient TEXT NOT NULL,
    type TEXT NOT NULL,
    recipient_type TEXT NOT NULL,
    retailer INTEGER NOT NULL,
    is_collector INTEGER NOT NULL,
    PRIMARY KEY (brand, recipient, type, recipient_type, retailer, is_collector)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS access_by_retailer ON access (brand, retailer);

-- Totals of a brand.
CREATE TABLE IF NOT EXISTS counts (
    brand INTEGER PRIMARY KEY,
    movements INTEGER NOT NULL,
    records INTEGER NOT NULL,
    approvals INTEGER NOT NULL,
    recipients INTEGER NOT NULL
);

-- Batches: the items until they are processed, the outcomes from then on.
CREATE TABLE IF NOT EXISTS batches (
    request_id TEXT PRIMARY KEY,
    number INTEGER NOT NULL,       -- in the order of acceptance
    brand INTEGER NOT NULL,
    is_v2 INTEGER NOT NULL,
    client TEXT NOT NULL,
    accepted_at REAL NOT NULL,
    enqueued_at REAL NOT NULL,
    due_at REAL NOT NULL,
    size INTEGER NOT NULL,
    items TEXT,                    -- a JSON list; NULL once processed
    outcomes TEXT                  -- a JSON object; NULL before
);
CREATE INDEX IF NOT EXISTS batches_waiting ON batches (due_at) WHERE items IS NOT NULL;

-- V2 single adds: the movement that answered a request, by the digest of its parameters and body.
CREATE TABLE IF NOT EXISTS v2_responses (
    brand INTEGER NOT NULL,
    digest BLOB NOT NULL,
    movement INTEGER NOT NULL,
    answered_at REAL NOT NULL,
    PRIMARY KEY (brand, digest)
) WITHOUT ROWID;

-- Small objects by kind and name: accounts, brands, tokens, retailers, push connections.
CREATE TABLE IF NOT EXISTS documents (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    UNIQUE (kind, name)
);
