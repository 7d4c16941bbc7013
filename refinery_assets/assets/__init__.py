"""The asset graph. Thin: every asset calls plain functions of the rooms for data work."""
