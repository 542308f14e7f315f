"""Images: sources, decoding, crop geometry, the order of examples, the pipeline. No jax."""
