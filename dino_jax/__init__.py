"""DINO, self-supervised training of vision transformers without labels, in JAX."""
