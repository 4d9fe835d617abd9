"""Where a clip stands at a stage, as a plan sees it."""

from enum import IntEnum


class State(IntEnum):
    DONE = 0
    SKIPPED = 1
    FAILED = 2
    BLOCKED = 3  # a stage it takes in failed
    TO_DO = 4
