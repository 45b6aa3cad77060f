"""Routers: who finds the way of a sample through what was added to a model."""
