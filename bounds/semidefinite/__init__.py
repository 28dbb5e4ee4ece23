"""Semidefinite relaxations of one layer and of all; descents guide, factorisations prove."""
