"""Adversaries for their own sake: attacks beside each other, one perturbation for many inputs, transfer."""
