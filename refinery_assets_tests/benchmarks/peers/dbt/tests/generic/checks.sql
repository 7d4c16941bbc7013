{% test points_are_unique(model) %}
  select ds, host_id, resource from {{ model }} group by all having count(*) > 1
{% endtest %}

{% test timestamps_are_standardized(model) %}
  select * from {{ model }} where ds is null or ds <> date_trunc('day', ds)
{% endtest %}

{% test utilization_is_in_range(model) %}
  select * from {{ model }} where y is null or not isfinite(y) or y < 0 or y > cap
{% endtest %}

{% test hosts_are_known(model) %}
  select host_id from {{ model }} anti join {{ source('inventory', 'hosts') }} on host_id = node_name
{% endtest %}

{% test behaviors_are_retained(model) %}
  with wanted as (
      select distinct month, resource, scenario, variant
      from (select distinct month, resource from {{ model }}), {{ source('inventory', 'hosts') }}
  )
  select * from wanted anti join (
      select distinct month, resource, scenario, variant
      from {{ model }} join {{ source('inventory', 'hosts') }} on host_id = node_name
  ) using (month, resource, scenario, variant)
{% endtest %}
