-- First loading: what a customer has given for its application to İYS.

-- One item of the checklist, as the customer gave it: a number, a name, a reference to a document.
CREATE TABLE application_items (
    customer_id text NOT NULL REFERENCES customers,
    item        text NOT NULL CHECK (item <> ''),
    -- Of which brand; 0: of the customer.
    brand_code  integer NOT NULL,
    value       text NOT NULL CHECK (value <> ''),
    given_by    text NOT NULL,
    given_at    timestamptz NOT NULL,
    PRIMARY KEY (customer_id, item, brand_code)
);
