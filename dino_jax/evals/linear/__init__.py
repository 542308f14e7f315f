"""The linear protocol's parts: what features, how the heads are trained, kept and exported."""
