-- Which retailers may use a consent is an obligation of its own. Where İYS holds the consent already, a statement that
-- names other retailers than İYS was told of is not told again: a person changes them at İYS, for no answer of İYS tells
-- what became of such a change. One row a key whose statements name retailers; an opt-out ends it.
CREATE TABLE retailer_access (
    key           text PRIMARY KEY,
    customer_id   text NOT NULL,
    brand_code    integer NOT NULL,
    channel       text NOT NULL,
    -- As İYS was last told of them, by us or by a person; NULL: of none.
    told_code     integer,
    told_access   integer[],
    -- The statement that names others, and which; NULL: there is no difference.
    wanted_by     text,
    wanted_code   integer,
    wanted_access integer[],
    since         timestamptz,
    CHECK ((wanted_by IS NULL) = (since IS NULL))
);
CREATE INDEX retailer_access_parked ON retailer_access (brand_code, key) WHERE wanted_by IS NOT NULL;
