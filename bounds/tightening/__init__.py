"""A node's bound raised: slopes ascend, envelopes, semidefinite relaxations, output-constrained neurons."""
