"""Writes a store's clips as other tools read them, and reads such folders back."""
