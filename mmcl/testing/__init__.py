"""What tests of strategies, benchmarks and backbones have in common; also for packages of other people."""
