"""Mixed-integer and integer programs of a network."""
