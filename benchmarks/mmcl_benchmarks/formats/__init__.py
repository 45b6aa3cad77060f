"""Readers of the formats that owners of data sets chose, and what they have read, free of any stream."""
