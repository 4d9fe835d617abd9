"""Generators: where their parts lie in a folder, and the networks with what a segment computes once."""
