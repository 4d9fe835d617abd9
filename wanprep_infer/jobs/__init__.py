"""A job of generations: which are to be made, each of them with its key, and what became of it."""
