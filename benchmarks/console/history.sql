-- A slice of a large history: of each key a decision, then İYS's answer, in the order in which they were recorded over a
-- year. A decision is the bytes of one that was encoded, with its recipient in the place of another of the same length.
INSERT INTO history (recorded_at, occurred_at, place, shard, kind, link, salt, key, customer_id, event_id, status, source,
    data, decision)
SELECT at, at, 1000000 + n, n %% 16, CASE WHEN is_answer THEN 'answer' ELSE 'decision' END, '\x00', decode(repeat('00', 16), 'hex'),
    (100001 + k %% 2) || '/MESAJ/BIREYSEL/' || recipient, 'acme',
    CASE WHEN is_answer THEN 'filled-' || k END, CASE WHEN is_answer THEN status END,
    CASE WHEN is_answer THEN 'submission/' || k / 1000 || '/' || k %% 1000 || '/answer' END,
    CASE WHEN is_answer THEN json_build_object('submission', k / 1000, 'how', 'batch', 'verdict', 'success', 'code', NULL,
        'transaction_id', md5(k::text), 'creation_date', at) END,
    CASE WHEN NOT is_answer THEN decode(replace(
        encode((%(decisions)s::bytea[])[1 + k %% 2 + CASE status WHEN 'RET' THEN 2 ELSE 0 END], 'hex'),
        encode(convert_to('+905400000000', 'UTF8'), 'hex'), encode(convert_to(recipient, 'UTF8'), 'hex')), 'hex') END
FROM (
    SELECT n, k, n %% 2 = 0 AS is_answer, '+9054' || to_char(1 + k / 2, 'FM00000000') AS recipient,
        CASE WHEN k %% 33 = 0 THEN 'RET' ELSE 'ONAY' END AS status,
        %(since)s::timestamptz + (%(until)s::timestamptz - %(since)s::timestamptz) * (n - %(first)s) / %(count)s AS at
    FROM generate_series(%(first)s::bigint, %(first)s::bigint + %(count)s::bigint - 1) AS n
    CROSS JOIN LATERAL (SELECT ((n - 1) / 2) %% %(keys)s::bigint AS k) AS whose
) AS rows
