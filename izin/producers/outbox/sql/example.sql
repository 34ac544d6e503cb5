-- An example to adapt: the customers of a shop, each with a phone number and whether it may get text messages.
--
--     CREATE TABLE customers (
--         id bigint PRIMARY KEY,
--         phone text,
--         sms_allowed boolean,             -- true: consent (ONAY), false: opt-out (RET), null: never asked
--         sms_changed_at timestamptz       -- when the customer last said so
--     );

-- ISO, whatever the session has: a date such as 03/02/2026 would be refused.
CREATE OR REPLACE FUNCTION customer_to_izin() RETURNS trigger LANGUAGE plpgsql SET datestyle = 'ISO' AS $$
BEGIN
    INSERT INTO izin_outbox (brand_code, type, recipient, status, source, consent_date, origin_ref)
    VALUES (
        100001, 'MESAJ', NEW.phone, CASE WHEN NEW.sms_allowed THEN 'ONAY' ELSE 'RET' END, 'HS_WEB',
        NEW.sms_changed_at, NEW.id
    );
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER customer_is_new_to_izin
    AFTER INSERT ON customers FOR EACH ROW
    WHEN (NEW.sms_allowed IS NOT NULL)
    EXECUTE FUNCTION customer_to_izin();

-- A new number is no consent: whoever changes it asks again, and so changes the other columns.
CREATE OR REPLACE TRIGGER customer_changes_to_izin
    AFTER UPDATE OF sms_allowed, sms_changed_at ON customers FOR EACH ROW
    WHEN (
        NEW.sms_allowed IS NOT NULL
        AND (NEW.sms_allowed, NEW.sms_changed_at) IS DISTINCT FROM (OLD.sms_allowed, OLD.sms_changed_at)
    )
    EXECUTE FUNCTION customer_to_izin();
