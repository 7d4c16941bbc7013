-- Roles for Dagster's storage. Once, as a superuser, with two passwords of your own:
--
--   psql -v dagster=$(openssl rand -hex 24) -v reader=$(openssl rand -hex 24) -f deploy/postgres/roles.sql postgres
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
GRANT USAGE ON SCHEMA public TO dagster_reader;
-- Dagster makes its tables when it is opened for the first time.
ALTER DEFAULT PRIVILEGES FOR ROLE dagster IN SCHEMA public GRANT SELECT ON TABLES TO dagster_reader;
