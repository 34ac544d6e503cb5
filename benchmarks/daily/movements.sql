-- So many movements of one day in the history, as pulls have recorded them: a few in each second, of distinct recipients.
INSERT INTO history (recorded_at, occurred_at, place, shard, kind, link, salt, key, customer_id, event_id, status, source,
    data)
SELECT m.created + interval '2 hours', m.created + interval '2 hours', m.number, m.number %% 16, 'observation',
    '\x00'::bytea, decode(md5(m.number::text), 'hex'), %(brand)s || '/MESAJ/BIREYSEL/+9055' || to_char(m.number, 'FM00000000'), 'acme',
    gen_random_uuid()::text, m.status, 'pull/' || m.number,
    json_build_object('by', 'pull', 'stream', left(m.source, 3),
        'creation_date', to_char(m.created AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"'),
        'consent_date', to_char(m.created AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"'),
        'source', m.source, 'transaction_id', m.transaction_id, 'ours', false)
FROM (
    SELECT n AS number, %(first)s::timestamptz + make_interval(secs => n * 86400 / %(rows)s) AS created,
        CASE n %% 2 WHEN 0 THEN 'ONAY' ELSE 'RET' END AS status,
        CASE n %% 3 WHEN 0 THEN 'IYS_WEB' ELSE 'HS_WEB' END AS source,
        md5((n * 86400 / %(rows)s)::text) || md5((n * 86400 / %(rows)s)::text) AS transaction_id
    FROM generate_series(0::bigint, %(rows)s::bigint - 1) AS n
) AS m
