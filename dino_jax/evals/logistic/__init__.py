"""The logistic protocol's parts: which labels are used, and the search for the penalty."""
