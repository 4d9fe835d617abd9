"""Reads conditioning from a store for Wan2.2 generation. Reads through `wanprep`, never through the stages."""
