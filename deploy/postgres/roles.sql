-- Roles for Dagster's storage. Once, as a superuser, with two passwords that you keep:
--
--   DAGSTER=$(openssl rand -hex 24) READER=$(openssl rand -hex 24)
--   psql -v ON_ERROR_STOP=1 -v dagster="$DAGSTER" -v reader="$READER" -f deploy/postgres/roles.sql postgres
--   echo "$DAGSTER goes into DAGSTER_PG_URL, $READER to whoever reads the run history"
--
-- `dagster` owns the database: webserver, daemon and workers use it, and nobody else. `dagster_reader` is for dashboards
-- on the run history; it reads and changes nothing. Neither may do anything in another database.

CREATE ROLE dagster LOGIN PASSWORD :'dagster' NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 200;
CREATE ROLE dagster_reader LOGIN PASSWORD :'reader' NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 10;
ALTER ROLE dagster_reader SET default_transaction_read_only = on;

CREATE DATABASE dagster OWNER dagster;
REVOKE ALL ON DATABASE dagster FROM PUBLIC;
GRANT CONNECT ON DATABASE dagster TO dagster_reader;

\connect dagster
REVOKE ALL ON SCHEMA public FROM PUBLIC;
-- Before PostgreSQL 15 the schema is not the database owner's.
GRANT ALL ON SCHEMA public TO dagster;
GRANT USAGE ON SCHEMA public TO dagster_reader;
-- Dagster makes its tables when it is opened for the first time.
ALTER DEFAULT PRIVILEGES FOR ROLE dagster IN SCHEMA public GRANT SELECT ON TABLES TO dagster_reader;
