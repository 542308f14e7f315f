"""Objects without labels: regions of attention, object discovery, and how well they fit."""
