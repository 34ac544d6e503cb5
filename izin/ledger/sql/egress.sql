-- name: note
-- Note the answer to the last call from an address, of all its processes.
UPDATE rate_limits SET
    answer_since = CASE WHEN answer = %(answer)s THEN answer_since ELSE clock_timestamp() END,
    answer = %(answer)s,
    answer_at = clock_timestamp(),
    delisted_at = CASE WHEN %(answer)s = 'answered' THEN NULL ELSE delisted_at END
WHERE egress_address = %(address)s

-- name: judge
-- Take addresses for delisted whose calls İYS has not admitted for a while: it forbids them, or answers others
-- meanwhile, and that steadily, for at the end of an outage one is answered before the other.
UPDATE rate_limits AS b SET delisted_at = clock_timestamp()
WHERE b.delisted_at IS NULL AND b.answer <> 'answered' AND b.answer_at >= b.answer_since + %(span)s
    AND (b.answer = 'forbidden' OR EXISTS (
        SELECT 1 FROM rate_limits AS other
        WHERE other.answer = 'answered' AND other.answer_since < clock_timestamp() - %(span)s
            AND other.answer_at >= b.answer_since + %(span)s))
RETURNING b.egress_address AS address, b.answer

-- name: delisted
-- The addresses that are taken for delisted.
SELECT egress_address AS address FROM rate_limits WHERE delisted_at IS NOT NULL

-- name: doubted
-- A brand of the account, which can be asked for, where the last call from the address was not answered; or from
-- another that is not taken for delisted yet, for whether this one is answered tells what that means.
SELECT coalesce((SELECT b.iys_code FROM brands AS b WHERE b.account IS NULL OR b.account = %(account)s LIMIT 1), 0)
    AS iys_code
FROM rate_limits AS own WHERE own.egress_address = %(address)s AND (own.answer <> 'answered' OR EXISTS (
    SELECT 1 FROM rate_limits AS other
    WHERE other.answer <> 'answered' AND other.delisted_at IS NULL
        AND other.answer_at > clock_timestamp() - interval '5 minutes'))
