"""Supervised training of a whole network."""
