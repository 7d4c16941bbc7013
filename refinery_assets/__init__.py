"""The refinery: monthly utilization exports in, one audited table for forecasting out."""
