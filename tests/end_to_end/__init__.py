"""Runs and commands as a whole."""
