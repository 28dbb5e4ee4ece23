"""Balls, half-spaces, boxes and matrices; knows no network."""
