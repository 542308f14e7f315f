"""Patches of two images that show the same."""
