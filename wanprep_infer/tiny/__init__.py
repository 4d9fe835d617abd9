"""Tiny generator checkpoints in the layouts of the real ones, for tests and trial runs without a download."""
