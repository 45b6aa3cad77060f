"""Scenarios, experiences and benchmarks, and how data sets are split into them."""
