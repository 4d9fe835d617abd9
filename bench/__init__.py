"""Benchmarks: each prints a table with the ratio to a floor measured in the same run. Not tests.

python -m bench                 all of them, with quick settings
python -m bench planning        one of them; -h says what it can vary
"""
