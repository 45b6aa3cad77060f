"""Samples, batches, label spaces, memories: everything between the disk and the model."""
