"""Metrics, the result matrix, its summaries and the report."""
