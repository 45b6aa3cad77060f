"""What strategies, benchmarks and backbones promise, one check a promise."""
