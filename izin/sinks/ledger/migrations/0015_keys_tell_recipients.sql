-- A key names its recipient, so the keys of a recipient are found by the brands there are: six lookups a brand, for
-- whoever asks what is known of somebody. An index of recipients cost each change of each row an entry instead.
-- Brands that statements name and the registry does not are noted, so that theirs are found, too.
CREATE TABLE unknown_brands (
    brand_code integer PRIMARY KEY,
    since      timestamptz NOT NULL
);
COMMENT ON TABLE unknown_brands IS 'Brand codes of which a statement spoke before the registry knew them.';
INSERT INTO unknown_brands (brand_code, since)
SELECT DISTINCT c.brand_code, now() FROM consents AS c
WHERE NOT EXISTS (SELECT 1 FROM brands AS b WHERE b.brand_code = c.brand_code);

DROP INDEX consents_recipient;
