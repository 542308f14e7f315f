"""Measuring a network: one file a protocol, and the feature extractor they share."""
