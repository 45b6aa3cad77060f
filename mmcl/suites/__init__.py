"""Suites: benchmarks x backbones x strategies x seeds in local processes (``docs/suites.md``)."""
