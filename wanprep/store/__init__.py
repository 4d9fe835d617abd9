"""The conditioning store: write, commit, read, verify."""

from wanprep.store.store import Store

__all__ = ["Store"]
