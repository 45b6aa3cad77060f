"""Own data on disk as a benchmark."""
