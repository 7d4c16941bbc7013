{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='month') }}

select date_trunc('month', ds)::date as month, * from ({{ feed(env_var('PEER_MONTHS')) }})
