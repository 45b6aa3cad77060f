"""The diagonal of the Fisher information: its estimators, gradients sample by sample, the pass over an experience."""
