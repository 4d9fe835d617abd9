"""Optical flow between two pictures and what follows from it, for every stage that measures motion."""
