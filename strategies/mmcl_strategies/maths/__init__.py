"""Formulas that two strategies or more have in common, as pure functions on tensors."""
