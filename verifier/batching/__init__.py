"""Samples side by side: the scheduler, and what can be computed in one batch."""
