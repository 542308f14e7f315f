"""Clips of what a network attends to, frame by frame."""
