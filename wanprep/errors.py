"""Errors a person reads: one line that says what was wrong, where, and what to do."""

from __future__ import annotations


class WanprepError(Exception):
    """Base of all errors meant for the user; the command line prints the message alone."""


class UsageError(WanprepError):
    """Bad arguments, recipe or input list. Exit code 2."""


class StoreError(WanprepError):
    """The store cannot be read or written, or what was asked for is not in it."""


class MediaError(WanprepError):
    """A file cannot be decoded; the message becomes the clip's cause."""
