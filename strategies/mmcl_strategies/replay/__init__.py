"""Strategies that train on remembered samples."""
