"""Runs laid over each other: what differs in their configuration, their curves, their scores."""
