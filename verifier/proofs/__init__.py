"""Proofs of verdicts: files that a checker accepts without believing anything of this project."""
