"""What batches are trained for, and the likelihood behind it."""
