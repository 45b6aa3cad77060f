"""MMCL's own benchmarks: readers of official layouts, and writers of embedded editions."""
