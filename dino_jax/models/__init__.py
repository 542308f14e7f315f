"""Backbones and the projection head, as pure functions over flat parameters."""
