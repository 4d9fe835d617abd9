"""YAML of others, loaded in bounded time and memory."""

from __future__ import annotations

from typing import Any

import yaml

MAX_CHARS = 256 << 10  # a recipe is a page; PyYAML reads about a megabyte in ten seconds
MAX_NODES = 20_000  # with every alias written out


class UnsafeYaml(ValueError):
    """The document is too large, or grows when its aliases are written out; the message says which."""


def load(text: str) -> Any:
    """The document as plain data: nothing in it can name a Python type.

    Raises:
        UnsafeYaml: over `MAX_CHARS`, or over `MAX_NODES` with its aliases written out, or holding itself.
        yaml.YAMLError: not YAML.
        ValueError, RecursionError: dates that do not exist, brackets without end.
    """
    if len(text) > MAX_CHARS:
        raise UnsafeYaml(f"is longer than {MAX_CHARS:,} characters")
    # Looked at before it is built: merging aliased mappings would already write them out.
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is not None and _size(root, {}) > MAX_NODES:
        raise UnsafeYaml(f"holds over {MAX_NODES:,} values with its aliases written out")
    return yaml.safe_load(text)


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Nodes of the tree that begins here, an aliased one counted each time it stands there."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) in known:
        if known[id(node)] == 0:
            raise UnsafeYaml("has an alias of something that it stands in")
        return known[id(node)]
    known[id(node)] = 0  # being counted
    below = (
        [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    )
    known[id(node)] = 1 + sum(_size(part, known) for part in below)
    return known[id(node)]
