{% macro feed(pattern) %}
  {# All four families' files that a pattern of months names, under the standard columns. #}
  {% set families = [
    ('cpu', 'cpu_utilization', 'cpu_p95', 'max_cores'),
    ('memory', 'memory_stats', 'memory_p95', 'memory_gb'),
    ('disk', 'storage_usage', 'disk_p95', 'storage_mb'),
    ('network', 'net_throughput', 'network_p95', 'throughput_mbps'),
  ] %}
  {% for resource, family, value, capacity in families %}
    select date as ds, host_id, '{{ resource }}' as resource, {{ value }} as y, 100.0::double as cap,
        {{ capacity }} as capacity
    from read_csv(
        '{{ env_var("PEER_FEED") }}/{{ pattern }}/{{ family }}_*.csv', header = true,
        columns = {'date': 'TIMESTAMP', 'host_id': 'VARCHAR', '{{ value }}': 'DOUBLE', '{{ capacity }}': 'DOUBLE'}
    )
    {% if not loop.last %} union all {% endif %}
  {% endfor %}
{% endmacro %}
