"""Mathematics on arrays: loss, targets, teacher, optimisers, schedules, colours, scores."""
