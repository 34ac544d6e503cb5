-- The roles of the ledger. The owner of its tables, who may create roles, runs this after each migration:
--
--     izin doctor --fix --no-running          # with the owner's DATABASE_URL
--     psql "$DATABASE_URL" --single-transaction --set ON_ERROR_STOP=1 --file deploy/postgres/roles.sql
--
-- and makes a login for each process and person:
--
--     CREATE ROLE izin_sink LOGIN PASSWORD '…' IN ROLE izin_worker;
--     CREATE ROLE ada LOGIN PASSWORD '…' IN ROLE izin_operator;
--
-- izin_worker is for every process: it appends to the history, and can neither change nor delete a row of it, nor its
-- triggers, nor the anchors; what the law lets it erase, erase_history does. izin_operator can retain and drop months, hold
-- them for a case, and rebuild. Migrations and `izin ledger restore` are the owner's.

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['izin_worker', 'izin_operator'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        END IF;
    END LOOP;
END $$;
GRANT izin_worker TO izin_operator;

-- What was granted before goes first, so that this says all.
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, izin_worker, izin_operator;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM PUBLIC, izin_worker, izin_operator;
REVOKE CREATE ON SCHEMA public FROM PUBLIC, izin_worker, izin_operator;
GRANT USAGE ON SCHEMA public TO izin_worker;
GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO izin_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO izin_worker;

-- The proof: the history and what binds it.
REVOKE UPDATE, DELETE ON history, anchors FROM izin_worker;
REVOKE INSERT, DELETE ON chains FROM izin_worker;
REVOKE INSERT, UPDATE, DELETE ON chain_cuts, history_months, legal_holds, migrations FROM izin_worker;
DO $$
DECLARE
    month regclass;
BEGIN
    -- A month is read and written through the history, whose rights count then.
    FOR month IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'history'::regclass LOOP
        EXECUTE format('REVOKE ALL ON %s FROM izin_worker', month);
    END LOOP;
END $$;
ALTER FUNCTION create_month(date) SECURITY DEFINER SET search_path = public, pg_temp;
ALTER FUNCTION drop_month(date, timestamptz) SECURITY DEFINER SET search_path = public, pg_temp;
REVOKE ALL ON FUNCTION create_month(date), drop_month(date, timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION erase_history(text[], smallint[], bigint[], bytea[], timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION create_month(date) TO izin_worker;
GRANT EXECUTE ON FUNCTION erase_history(text[], smallint[], bigint[], bytea[], timestamptz) TO izin_worker;

-- What people order about it.
GRANT INSERT, UPDATE ON legal_holds TO izin_operator;
GRANT UPDATE ON history_months TO izin_operator;
GRANT INSERT ON chain_cuts TO izin_operator;
GRANT EXECUTE ON FUNCTION drop_month(date, timestamptz) TO izin_operator;
GRANT TRUNCATE, MAINTAIN ON shadow_consents, shadow_slices, shadow_differences TO izin_operator;
