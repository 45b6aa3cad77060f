"""Faults that the tests must notice: small changes of the source, each with the tests that are to fail."""
