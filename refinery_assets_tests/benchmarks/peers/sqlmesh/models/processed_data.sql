MODEL (
  name refined.processed_data,
  kind INCREMENTAL_BY_TIME_RANGE (time_column ds),
  cron '@monthly',
  columns (
    ds TIMESTAMP, host_id VARCHAR, resource VARCHAR, y DOUBLE, cap DOUBLE, capacity DOUBLE
  ),
  audits (
    points_are_unique, timestamps_are_standardized, utilization_is_in_range, hosts_are_known,
    behaviors_are_retained
  ),
  depends_on (main.hosts)
);

SELECT date AS ds, host_id, 'cpu' AS resource, cpu_p95 AS y, 100.0::DOUBLE AS cap, max_cores AS capacity
FROM read_csv(
  @feed || '/*/*/cpu_utilization_*.csv', header = TRUE,
  columns = {'date': 'TIMESTAMP', 'host_id': 'VARCHAR', 'cpu_p95': 'DOUBLE', 'max_cores': 'DOUBLE'}
)
WHERE date BETWEEN @start_ts AND @end_ts
UNION ALL
SELECT date AS ds, host_id, 'memory' AS resource, memory_p95 AS y, 100.0::DOUBLE AS cap, memory_gb AS capacity
FROM read_csv(
  @feed || '/*/*/memory_stats_*.csv', header = TRUE,
  columns = {'date': 'TIMESTAMP', 'host_id': 'VARCHAR', 'memory_p95': 'DOUBLE', 'memory_gb': 'DOUBLE'}
)
WHERE date BETWEEN @start_ts AND @end_ts
UNION ALL
SELECT date AS ds, host_id, 'disk' AS resource, disk_p95 AS y, 100.0::DOUBLE AS cap, storage_mb AS capacity
FROM read_csv(
  @feed || '/*/*/storage_usage_*.csv', header = TRUE,
  columns = {'date': 'TIMESTAMP', 'host_id': 'VARCHAR', 'disk_p95': 'DOUBLE', 'storage_mb': 'DOUBLE'}
)
WHERE date BETWEEN @start_ts AND @end_ts
UNION ALL
SELECT date AS ds, host_id, 'network' AS resource, network_p95 AS y, 100.0::DOUBLE AS cap,
  throughput_mbps AS capacity
FROM read_csv(
  @feed || '/*/*/net_throughput_*.csv', header = TRUE,
  columns = {'date': 'TIMESTAMP', 'host_id': 'VARCHAR', 'network_p95': 'DOUBLE', 'throughput_mbps': 'DOUBLE'}
)
WHERE date BETWEEN @start_ts AND @end_ts
