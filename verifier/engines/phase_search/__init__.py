"""Branch and bound on ReLU phases."""
