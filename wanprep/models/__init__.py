"""Model checkpoints: which there are, where they lie, what they are (their digest), how they are loaded."""
