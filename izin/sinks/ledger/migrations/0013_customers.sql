-- What a customer is, and under which numbers the state knows it. No number of a natural person (T.C. kimlik numarası)
-- is stored: whoever registers a customer refuses one, also within a MERSİS number.
ALTER TABLE customers
    ADD COLUMN kind text CHECK (kind IN ('legal', 'merchant', 'craftsman', 'other')),
    ADD COLUMN mersis text CHECK (mersis ~ '^[0-9]{16}$'),
    ADD COLUMN vkn text CHECK (vkn ~ '^[0-9]{10}$'),
    ADD COLUMN iys_code integer CHECK (iys_code > 0),
    -- Since when nothing more is done for it. NULL: it is a customer.
    ADD COLUMN offboarded_at timestamptz;
