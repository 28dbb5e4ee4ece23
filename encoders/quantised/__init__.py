"""Quantised (int8) networks: reading, exact integer semantics, programs."""
