"""Weights from elsewhere and to elsewhere: every table is read in both directions."""
