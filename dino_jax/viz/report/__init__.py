"""The report of a run: one page in its folder, kept up to date while it trains."""
