"""Frozen encoders with small additions: prompts, adapters, analytic heads."""
