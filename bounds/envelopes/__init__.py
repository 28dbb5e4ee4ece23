"""Upper lines of ReLUs that are better than chords: concave envelopes over a ball."""
