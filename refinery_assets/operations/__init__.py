"""What runs the graph and keeps it in order: jobs, schedule, sensors, alerts, housekeeping, storage.

Not here: the assets themselves (`assets`) and the data work.
"""
