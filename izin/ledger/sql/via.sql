-- name: one-at-a-time
-- Have whoever else asks for this person's consent wait.
SELECT pg_advisory_xact_lock(hashtextextended(concat_ws('/', 'via', %(customer_id)s::text, %(recipient)s::text), 0))

-- name: lock
-- Wait for whoever is changing the rows of these keys, and keep them as they are.
SELECT key FROM consents WHERE key = ANY(%(keys)s) ORDER BY key FOR SHARE

-- name: standing
-- Whether the person opted out of any of these keys, how often they were asked since an instant, and the latest request of
-- the brand that they may still consent by, or have consented by since.
SELECT
    EXISTS (SELECT FROM consents AS c WHERE c.key = ANY(%(keys)s) AND is_opted_out(c)) AS is_opted_out,
    (SELECT count(*) FROM via_requests AS v
        WHERE v.customer_id = %(customer_id)s AND v.recipient = %(recipient)s AND v.requested_at > %(since)s
            AND v.state <> 'refused') AS asked,
    (SELECT v.id FROM via_requests AS v
        WHERE v.customer_id = %(customer_id)s AND v.recipient = %(recipient)s AND v.brand_code = %(brand_code)s
            AND (v.state = 'consented' AND v.requested_at > %(since)s
                OR v.state NOT IN ('consented', 'refused', 'over') AND v.until > %(now)s)
        ORDER BY v.requested_at DESC LIMIT 1) AS open_id

-- name: add
-- Add a request.
INSERT INTO via_requests (id, customer_id, brand_code, recipient, recipient_type, channels, keys, way, form_id, occasion,
    requested_by, requested_at, until, state, next_at)
VALUES (%(id)s, %(customer_id)s, %(brand_code)s, %(recipient)s, %(recipient_type)s, %(channels)s, %(keys)s, %(way)s,
    %(form_id)s, %(occasion)s, %(by)s, %(now)s, %(until)s, 'waiting', %(now)s)
RETURNING *

-- name: find
-- A request.
SELECT * FROM via_requests WHERE id = %(id)s

-- name: is-opted-out
-- Whether the person opted out of what they are asked for.
SELECT EXISTS (SELECT FROM via_requests AS v JOIN consents AS c ON c.key = ANY(v.keys)
    WHERE v.id = %(id)s AND is_opted_out(c)) AS is_opted_out

-- name: give-code
-- Have İYS given the code that a person gave back, where one is awaited.
UPDATE via_requests SET state = 'coded', code = %(code)s, result = NULL, next_at = %(now)s, claims = claims + 1
WHERE id = %(id)s AND state = 'asked' AND way LIKE '%%\_OTP' AND until > %(now)s
RETURNING id

-- name: claim
-- Take up the request that is due first, of the brands of an account and address, until an instant.
UPDATE via_requests AS v SET next_at = %(until)s, claims = v.claims + 1
WHERE v.id = (
    SELECT w.id FROM via_requests AS w JOIN brands AS b ON b.brand_code = w.brand_code
    WHERE w.next_at <= %(now)s AND b.status = 'active' AND is_served_by(b, %(account)s, %(addresses)s::text[])
    ORDER BY w.next_at LIMIT 1 FOR UPDATE OF w SKIP LOCKED)
RETURNING v.*

-- name: unknown-keys
-- Those keys of a request of which the ledger does not know what İYS holds; for a private person not those of a merchant.
SELECT k.key FROM via_requests AS v CROSS JOIN unnest(v.keys) AS k (key) LEFT JOIN consents AS c ON c.key = k.key
WHERE v.id = %(id)s AND split_part(k.key, '/', 3) IN ('BIREYSEL', v.recipient_type)
    AND coalesce(c.registered, 'UNKNOWN') NOT IN ('ONAY', 'NONE', 'RET')
ORDER BY k.key

-- name: lock-request
-- Wait for whoever is changing the rows of the keys of a request, and keep them as they are.
SELECT c.key FROM via_requests AS v JOIN consents AS c ON c.key = ANY(v.keys) WHERE v.id = %(id)s
ORDER BY c.key FOR SHARE OF c

-- name: begin
-- Note that a call is about to be written, where whoever took the request up has it long enough, it is of use yet, and
-- the person has not opted out.
UPDATE via_requests AS v SET state = %(to)s
WHERE v.id = %(id)s AND v.claims = %(claims)s AND v.next_at > %(answered_by)s AND %(now)s < %(deadline)s::timestamptz
    AND v.state IN (%(from)s, %(to)s)
    AND NOT EXISTS (SELECT FROM consents AS c WHERE c.key = ANY(v.keys) AND is_opted_out(c))
RETURNING v.id

-- name: save
-- Save how far a request is, unless another worker has taken it up.
UPDATE via_requests SET state = %(state)s, request_id = coalesce(%(request_id)s, request_id), result = %(result)s,
    next_at = %(next_at)s, code = CASE WHEN %(state)s IN ('coded', 'confirming') THEN code END
WHERE id = %(id)s AND claims = %(claims)s
RETURNING id
