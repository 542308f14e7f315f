"""One module a format: each reads into `Weights` and writes from it."""
