"""Strategies that give each experience a part of the model, or a new part."""
