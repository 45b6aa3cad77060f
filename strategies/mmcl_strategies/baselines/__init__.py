"""The lower and the upper bound that every table needs."""
