"""Engines: what closes the gap between a proven lower bound and a replayed adversary."""
