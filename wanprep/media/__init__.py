"""Decode, encode, resample and draw media. Knows no model and no store."""
