"""Bounds of all neurons: intervals and backward passes over the graph."""
