"""What a network attends to: maps of its heads, their figures and their measures."""
