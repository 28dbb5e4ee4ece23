"""Templates and charts of every page."""
