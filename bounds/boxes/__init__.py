"""Many boxes of few inputs, bounded together: what holds in a box holds in every part of it."""
