"""Engines for quantised networks."""
