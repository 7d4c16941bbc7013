"""Benchmarks: run by hand, they measure and judge nothing. Medians and ratios, for the machines are noisy."""
