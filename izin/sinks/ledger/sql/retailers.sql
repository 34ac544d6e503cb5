-- name: told
-- İYS took consents with these retailers: that is what it holds, and nothing else is wanted.
INSERT INTO retailer_access (key, customer_id, brand_code, channel, told_code, told_access)
SELECT r.key, r.customer_id, r.brand_code, r.channel, r.code, r.access
FROM json_to_recordset(%(rows)s::json)
    AS r (key text, customer_id text, brand_code integer, channel text, code integer, access integer[])
ON CONFLICT (key) DO UPDATE SET
    told_code = excluded.told_code, told_access = excluded.told_access,
    wanted_by = NULL, wanted_code = NULL, wanted_access = NULL, since = NULL

-- name: wanted
-- Statements that İYS need not be told, for it holds the consent, name these retailers: a difference, unless İYS was
-- told of the very same.
INSERT INTO retailer_access AS a (
    key, customer_id, brand_code, channel, wanted_by, wanted_code, wanted_access, since)
SELECT r.key, r.customer_id, r.brand_code, r.channel, r.event_id, r.code, r.access, %(now)s
FROM json_to_recordset(%(rows)s::json)
    AS r (key text, customer_id text, brand_code integer, channel text, event_id text, code integer,
        access integer[])
ON CONFLICT (key) DO UPDATE SET (wanted_by, wanted_code, wanted_access, since) = (
    SELECT excluded.wanted_by, excluded.wanted_code, excluded.wanted_access,
        CASE WHEN a.wanted_by = excluded.wanted_by THEN a.since ELSE excluded.since END
    WHERE (a.told_code, a.told_access) IS DISTINCT FROM (excluded.wanted_code, excluded.wanted_access))

-- name: ended
-- İYS holds these consents no more, and with them nobody's access.
DELETE FROM retailer_access WHERE key = ANY(%(keys)s)

-- name: settle
-- A person has given İYS the retailers that these consents' statements name.
UPDATE retailer_access AS a SET
    told_code = a.wanted_code, told_access = a.wanted_access,
    wanted_by = NULL, wanted_code = NULL, wanted_access = NULL, since = NULL
FROM (
    SELECT key, wanted_by FROM retailer_access
    WHERE brand_code = %(brand_code)s AND wanted_by IS NOT NULL
    ORDER BY key LIMIT %(size)s FOR UPDATE
) AS was
WHERE a.key = was.key
RETURNING a.key, a.customer_id, was.wanted_by AS event_id, a.told_code AS code, a.told_access AS access

-- name: differences
-- What a person is to tell İYS of: a brand's consents, and the retailers their statements name.
SELECT key, wanted_by AS event_id, told_code, told_access, wanted_code, wanted_access, since
FROM retailer_access
WHERE brand_code = %(brand_code)s AND wanted_by IS NOT NULL
ORDER BY key
