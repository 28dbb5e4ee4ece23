"""Many samples: in this process or in several, with a journal."""
