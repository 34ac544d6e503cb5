-- The gate: suspensions that a person orders, and receipts of what the gate answered.

-- A person's order that nothing is submitted to İYS (iys), or that nothing commercial may be sent (gate): of one brand, or
-- of every brand of a customer, those added later too. What follows from the orders of a brand is in suspensions and in
-- brands.suspension.
CREATE TABLE suspension_orders (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id text REFERENCES customers,
    brand_code  integer REFERENCES brands,
    part        text NOT NULL CHECK (part IN ('iys', 'gate')),
    reason      text NOT NULL CHECK (reason <> ''),
    ordered_by  text NOT NULL,
    since       timestamptz NOT NULL,
    CHECK (num_nonnulls(customer_id, brand_code) = 1),
    UNIQUE NULLS NOT DISTINCT (customer_id, brand_code, part)
);

-- Why nothing commercial may be sent for a brand: the reason of the order, which is published with the brand. NULL: it
-- may.
ALTER TABLE brands ADD COLUMN suspension text CHECK (suspension <> '');

-- A receipt is what the gate answered a sender. The rows before satisfy the narrower constraint, so that they need not be
-- read again.
ALTER TABLE movements
    DROP CONSTRAINT movements_kind_check,
    ADD CONSTRAINT movements_kind_check CHECK (kind IN (
        'decision', 'call', 'answer', 'observation', 'outcome', 'delivery', 'act', 'breach', 'bootstrap',
        'receipt')) NOT VALID;
