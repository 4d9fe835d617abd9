"""The sample clip: a talking figure and its voice, made by code, so that a first run needs no footage."""
