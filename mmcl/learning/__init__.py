"""The learner, what strategies are, and how they compose."""
