"""The data work, on files, frames and connections. Nothing here knows of Dagster."""
