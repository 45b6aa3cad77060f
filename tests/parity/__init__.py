"""Golden vectors: one runner, one check function per method."""
