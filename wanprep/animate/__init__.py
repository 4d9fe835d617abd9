"""The rules of the Wan2.2 official preprocessing for Animate, as functions of arrays.

What the official code does wrong, or cannot do, is behind `compat`: "official" gives its very result, or raises
`OfficialFailure` where it fails; "robust" gives a safe one, which each function describes.
"""
