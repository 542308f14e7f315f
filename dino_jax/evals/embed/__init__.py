"""Features of every image of a source in one file: streamed, resumable."""
