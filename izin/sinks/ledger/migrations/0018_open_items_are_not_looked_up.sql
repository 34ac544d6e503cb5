-- The index of open items is there to refuse a second one; nobody looks anything up in it. Yet where few items were open
-- when the table was last analyzed, PostgreSQL chose it to find the items of one submission, and read all of it, those
-- settled since included: a third of a million entries a question. In words that no statement uses, its condition keeps
-- it out of every plan.
DROP INDEX submission_items_open;
CREATE UNIQUE INDEX submission_items_open ON submission_items (key, status) WHERE state || '' = 'open';
