"""Strategies that remember by generating: pseudo replay of inputs or of features."""
