"""What strategies of several kinds ask of a learner, and of their options."""
