-- İYS's names for a batch's items are kept as it gave them: one list on the submission, written once, in the place of
-- a change to each of a thousand rows. What İYS answered of an item stands in the history, and need not stand here too.
ALTER TABLE submissions ADD COLUMN sub_request_ids text[];
COMMENT ON COLUMN submissions.sub_request_ids IS 'In the order of the body; they hold for as long as request_id does.';
UPDATE submissions AS s SET sub_request_ids = (
    SELECT array_agg(n.sub_request_id ORDER BY n.index) FROM (
        SELECT place.index, i.sub_request_id
        FROM generate_series(0, (SELECT max(index) FROM submission_items WHERE submission_id = s.id)) AS place (index)
        LEFT JOIN submission_items AS i ON i.submission_id = s.id AND i.index = place.index) AS n)
WHERE s.state <> 'settled' AND s.request_id IS NOT NULL;
ALTER TABLE submission_items DROP COLUMN sub_request_id, DROP COLUMN transaction_id, DROP COLUMN creation_date;
ALTER TABLE submission_items RESET (fillfactor);
