"""Proofs as VIPR 1.1 certificates: files that checkers of mixed-integer programs accept."""
