"""Bounds where inputs or values are whole numbers: grid steps, pixel counts, int8 ranges."""
