"""Masks through video: carrying the first one on, and scoring what came of it."""
