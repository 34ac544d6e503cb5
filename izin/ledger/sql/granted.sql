-- name: list
-- Store a brand as İYS lists it now. What may no longer be read was last seen readable when the list was read before.
INSERT INTO granted_brands AS g (account, brand_code, iys_code, name, title, is_master, writes, reads,
    agreement_control, via_control, listed_at)
VALUES (%(account)s, %(brand_code)s, %(iys_code)s, %(name)s, %(title)s, %(is_master)s, %(writes)s, %(reads)s,
    %(agreement_control)s, %(via_control)s, %(now)s)
ON CONFLICT (account, brand_code) DO UPDATE SET
    iys_code = excluded.iys_code, name = excluded.name, title = excluded.title, is_master = excluded.is_master,
    writes = excluded.writes, reads = excluded.reads, agreement_control = excluded.agreement_control,
    via_control = excluded.via_control, unread_since = %(unread_since)s, listed_at = excluded.listed_at, gone_at = NULL

-- name: list-own
-- Store brands of a provider whose own account it is: İYS lists no rights. What a partner's list says stays.
INSERT INTO granted_brands AS g (account, brand_code, iys_code, name, is_master, listed_at)
SELECT %(account)s, l.brand_code, %(iys_code)s, l.name, l.is_master, %(now)s
FROM unnest(%(brand_codes)s::integer[], %(names)s::text[], %(masters)s::boolean[]) AS l (brand_code, name, is_master)
ON CONFLICT (account, brand_code) DO UPDATE SET name = excluded.name, is_master = excluded.is_master,
    listed_at = excluded.listed_at
WHERE g.reads IS NULL

-- name: forget-own
-- Forget brands of a provider whose own account it is that İYS lists no more, and that are not registered here.
DELETE FROM granted_brands AS g
WHERE g.account = %(account)s AND g.iys_code = %(iys_code)s AND g.reads IS NULL AND g.listed_at < %(now)s
    AND NOT EXISTS (SELECT FROM brands AS b WHERE b.brand_code = g.brand_code)

-- name: gone
-- İYS's list no longer has a brand that is registered here: nothing of it may be read or written.
UPDATE granted_brands SET writes = '{}', reads = '{}', agreement_control = false, via_control = false,
    unread_since = %(unread_since)s, gone_at = coalesce(gone_at, %(now)s)
WHERE account = %(account)s AND brand_code = %(brand_code)s

-- name: forget
-- Forget brands that the whole list no longer has and that are not registered here.
DELETE FROM granted_brands AS g
WHERE g.account = %(account)s AND g.listed_at < %(now)s
    AND NOT EXISTS (SELECT FROM brands AS b WHERE b.brand_code = g.brand_code)

-- name: all
-- Every brand that İYS lists or has listed.
SELECT account, brand_code, iys_code, name, title, is_master, writes, reads, agreement_control, via_control,
    unread_since, listed_at, gone_at
FROM granted_brands
WHERE %(account)s::text IS NULL OR account = %(account)s
ORDER BY iys_code, brand_code, account

-- name: unreadable
-- The channels of a brand that may not be read.
SELECT channel FROM unreadable_channels WHERE brand_code = %(brand_code)s

-- name: is-listed
-- Whether İYS lists the rights of the account that serves a brand.
SELECT EXISTS (
    SELECT FROM granted_brands AS g JOIN brands AS b USING (brand_code)
    WHERE g.brand_code = %(brand_code)s AND g.account = coalesce(b.account, g.account) AND g.reads IS NOT NULL)

-- name: lost-rights
-- The rights that active brands have lost, but for those that an operator declared missing.
SELECT s.brand_code, 'write' AS "right", s.channel, s.since
FROM suspensions AS s JOIN brands AS b USING (brand_code)
WHERE b.status = 'active' AND s.status = '*' AND s.channel <> '*' AND s.code <> 'no-right'
UNION ALL
SELECT b.brand_code, 'read', u.channel, u.since::timestamptz
FROM granted_brands AS g
JOIN brands AS b ON b.brand_code = g.brand_code AND g.account = coalesce(b.account, g.account)
CROSS JOIN jsonb_each_text(g.unread_since) AS u (channel, since)
WHERE b.status = 'active'
ORDER BY brand_code, "right", channel

-- name: ask
-- Have the list of an account read soon; what was asked already stays.
INSERT INTO list_readings AS r (account, asked_at) VALUES (%(account)s, %(now)s)
ON CONFLICT (account) DO UPDATE SET asked_at = excluded.asked_at
WHERE r.asked_at IS NULL OR r.asked_at <= r.tried_at

-- name: reading
-- When the list of an account was read.
SELECT * FROM list_readings WHERE account = %(account)s

-- name: readings
-- When the lists were read of the accounts that serve brands: those that an active brand names, and the one that tried
-- last. Another is not used any more.
SELECT * FROM list_readings AS r
WHERE EXISTS (SELECT FROM brands AS b WHERE b.account = r.account AND b.status = 'active')
    OR NOT EXISTS (SELECT FROM list_readings AS later WHERE later.tried_at > r.tried_at)
ORDER BY account

-- name: read
-- The list was read.
INSERT INTO list_readings (account, tried_at, read_at, next_at, subscription, subscription_ends_at)
VALUES (%(account)s, %(now)s, %(now)s, %(next_at)s, %(subscription)s, %(ends_at)s)
ON CONFLICT (account) DO UPDATE SET tried_at = excluded.tried_at, read_at = excluded.read_at,
    next_at = excluded.next_at, attempts = 0, error = NULL, subscription = excluded.subscription,
    subscription_ends_at = excluded.subscription_ends_at

-- name: failed
-- The list could not be read, or not all of it.
INSERT INTO list_readings AS r (account, tried_at, next_at, attempts, error)
VALUES (%(account)s, %(now)s, %(next_at)s, 1, %(error)s)
ON CONFLICT (account) DO UPDATE SET tried_at = excluded.tried_at, next_at = excluded.next_at,
    attempts = r.attempts + 1, error = excluded.error
