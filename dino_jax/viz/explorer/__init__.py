"""The attention explorer: one page that answers for every patch, block and head."""
