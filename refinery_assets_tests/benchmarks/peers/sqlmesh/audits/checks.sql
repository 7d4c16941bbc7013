AUDIT (name points_are_unique);
SELECT ds, host_id, resource FROM @this_model
WHERE ds BETWEEN @start_ts AND @end_ts
GROUP BY ds, host_id, resource HAVING COUNT(*) > 1;

AUDIT (name timestamps_are_standardized);
SELECT * FROM @this_model
WHERE ds IS NULL OR (ds BETWEEN @start_ts AND @end_ts AND ds <> DATE_TRUNC('day', ds));

AUDIT (name utilization_is_in_range);
SELECT * FROM @this_model
WHERE ds BETWEEN @start_ts AND @end_ts AND (y IS NULL OR NOT ISFINITE(y) OR y < 0 OR y > cap);

AUDIT (name hosts_are_known);
SELECT host_id FROM @this_model AS p LEFT JOIN main.hosts AS h ON p.host_id = h.node_name
WHERE p.ds BETWEEN @start_ts AND @end_ts AND h.node_name IS NULL;

AUDIT (name behaviors_are_retained);
WITH kept AS (
  SELECT DISTINCT DATE_TRUNC('month', p.ds) AS month, p.resource, h.scenario, h.variant
  FROM @this_model AS p JOIN main.hosts AS h ON p.host_id = h.node_name
  WHERE p.ds BETWEEN @start_ts AND @end_ts
), wanted AS (
  SELECT DISTINCT k.month, k.resource, h.scenario, h.variant
  FROM (SELECT DISTINCT month, resource FROM kept) AS k CROSS JOIN main.hosts AS h
)
SELECT w.* FROM wanted AS w LEFT JOIN kept AS k
  ON w.month = k.month AND w.resource = k.resource AND w.scenario = k.scenario AND w.variant = k.variant
WHERE k.month IS NULL;
