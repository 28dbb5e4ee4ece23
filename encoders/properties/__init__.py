"""What may be asked of a network beside its classes, and the format in which others ask it."""
