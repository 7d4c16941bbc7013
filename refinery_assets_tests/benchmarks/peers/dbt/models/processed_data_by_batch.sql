{{ config(materialized='incremental', incremental_strategy='microbatch', event_time='ds', batch_size='month',
    begin=env_var('PEER_START')) }}

{# Each batch reads its own month's files; without a batch (while parsing), any month serves. #}
{% set months = model.batch.event_time_start.strftime('%Y/%m') if model.batch else '*/*' %}
select date_trunc('month', ds)::date as month, * from ({{ feed(months) }})
