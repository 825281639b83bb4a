-- Role that changes the sample data after an approval (SQL_WRITES); created if an older bot has not done so.
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'bot_writer') THEN
        CREATE ROLE bot_writer LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
    END IF;
END $$;
GRANT CONNECT ON DATABASE sample TO bot_writer;
GRANT USAGE, CREATE ON SCHEMA public TO bot_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO bot_writer;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO bot_writer;
