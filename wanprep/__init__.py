"""wanprep: conditioning for Wan2.2-Animate and Wan2.2-S2V, prepared once and kept.

import wanprep

summary = wanprep.run("videos/", store="store", recipe="features")
store = wanprep.open("store")
for clip in store.clips():
    print(clip.id, clip.skeleton.keypoints_TKC.shape)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wanprep.runner import run
    from wanprep.store.store import Store

__all__ = ["Store", "open", "run"]


def open(store: str) -> Store:
    """Opens an existing conditioning store; see `wanprep.store.Store`.

    Raises:
        wanprep.errors.StoreError: there is no store.
    """
    from wanprep.store.store import Store

    return Store.open(store)


def __getattr__(name: str) -> Any:
    # Loaded on first use, so that `import wanprep` and `wanprep --help` stay instant.
    if name == "run":
        from wanprep.runner import run

        return run
    if name == "Store":
        from wanprep.store.store import Store

        return Store
    raise AttributeError(f"module 'wanprep' has no attribute '{name}'")
