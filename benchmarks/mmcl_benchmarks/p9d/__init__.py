"""P9D: continual pre-training on pictures and titles of products."""
