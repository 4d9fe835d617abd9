"""Kinds of generation, such as Animate's: found by entry point, so that ours and a plug-in's run in the same job."""
