"""Strategies that hold the weights near old solutions."""
