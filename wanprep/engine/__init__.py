"""Runs a plan: operators, and the engine that needs nothing but this process."""
