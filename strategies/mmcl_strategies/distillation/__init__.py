"""Strategies that keep old answers by distillation."""
