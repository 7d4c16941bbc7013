-- Bad rows of the months under audit; `month` says of which month each is.
SELECT month, ds, host_id
FROM processed_data
JOIN audit_months ON ds >= month_start AND ds < month_end
WHERE capacity IS NULL AND NOT is_imputed
