"""The distance bound of a search node: backward pass, ascent of slopes, tightenings, linear program."""
