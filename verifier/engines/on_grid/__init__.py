"""Engines for inputs on a grid."""
