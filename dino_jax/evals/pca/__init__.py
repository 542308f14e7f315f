"""Patch features as colours, by principal components."""
