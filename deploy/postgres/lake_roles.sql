-- Roles for the lake's catalog. Once, as a superuser, with a password that you keep:
--
--   PASSWORD=$(openssl rand -hex 24)
--   psql -v ON_ERROR_STOP=1 -v refinery="$PASSWORD" -f deploy/postgres/lake_roles.sql postgres
--   echo "db:5432:refinery:refinery:$PASSWORD" >> ~/.pgpass && chmod 600 ~/.pgpass
--
-- `refinery` owns the catalog: `refinery lake init`, runs and maintenance use it, and nobody else. Members of `analysts`
-- read the catalog and change nothing in it; the rows themselves are files, which they need the right to read as well.

CREATE ROLE refinery LOGIN PASSWORD :'refinery' NOSUPERUSER NOCREATEDB NOCREATEROLE;
ALTER ROLE refinery SET idle_in_transaction_session_timeout = 0;
CREATE ROLE analysts NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;

CREATE DATABASE refinery OWNER refinery;
REVOKE ALL ON DATABASE refinery FROM PUBLIC;
GRANT CONNECT ON DATABASE refinery TO analysts;

\connect refinery
REVOKE ALL ON SCHEMA public FROM PUBLIC;
-- Before PostgreSQL 15 the schema is not the database owner's.
GRANT ALL ON SCHEMA public TO refinery;
GRANT USAGE ON SCHEMA public TO analysts;
-- DuckLake makes its tables with refinery lake init, and some of them later.
ALTER DEFAULT PRIVILEGES FOR ROLE refinery IN SCHEMA public GRANT SELECT ON TABLES TO analysts;
