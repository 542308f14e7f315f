"""Evaluations by patch: features of images of any size, and probes that segment by them."""
