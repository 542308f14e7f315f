"""One module to a protocol: `run(request)` gives its report."""
