"""Times and memory beside named peers."""
