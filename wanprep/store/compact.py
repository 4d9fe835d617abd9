"""Merges small shards of a store into larger ones, safely beside readers and runs, and killed at any point.

For each group of shards: copy into a new shard, note the old tensor files as retired, commit the new shard, remove
the old Parquet files. So every key is in some Parquet file at every moment, and in two for a short one. The old
tensor files go later, when readers that hold the old rows have had time to finish. A compaction that was killed
leaves shards whose keys are all in others: the next one finds and removes them.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wanprep.errors import StoreError, UsageError
from wanprep.hints import did_you_mean
from wanprep.store import layout
from wanprep.store.fs import StoreFiles
from wanprep.store.lock import CompactionLock
from wanprep.store.merge import Damaged, check_whole, merge_shards, remove_rows
from wanprep.store.merge_tables import RULES, merge_parts
from wanprep.store.retired import remove_due, retire, retired, tensor_files
from wanprep.store.store import Store

MAX_TARGET_BYTES = (
    2 << 30
)  # safetensors headers may have 100 MB: room for the smallest tensors of so large a file
_ROWS_BYTES = 8 << 20  # of a Parquet file: readers take the whole file for one key, and keep 64 of them
_TABLE_BYTES = 64 << 20  # of a part of a table: one is held in memory, uncompressed
GRACE_SECONDS = 3600.0


@dataclass
class Compaction:
    """What was done, or with a dry run what would be. `nbytes` were, or would be, copied."""

    merged: int = 0  # Parquet files that are not there any more
    made: int = 0  # Parquet files in their stead
    nbytes: int = 0
    files_before: int = 0
    files_after: int = 0
    kept: int = 0  # old tensor files that are still there for readers
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Shard:
    rows_file: str
    rows_bytes: int
    nbytes: int  # with tensors
    order: str  # its first clip
    metadata: str  # what the file says of itself


def compact(
    root: str,
    *,
    stages: Sequence[str] = (),
    target_bytes: int = 256 << 20,
    grace_seconds: float = GRACE_SECONDS,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Compaction:
    """Merges shards that are smaller than half of `target_bytes` into ones of up to that size.

    Args:
        root: folder or bucket address of the store.
        stages: only these; all, and the tables of clips, media and outcomes, when empty.
        grace_seconds: how long old tensor files stay for readers that have already read their rows.
        progress: hears of groups done and their number.

    Raises:
        UsageError: no such stage, or a target out of range.
        StoreError: another compaction is at work, or the store cannot be written or is full.
    """
    if not 1 << 20 <= target_bytes <= MAX_TARGET_BYTES:
        raise UsageError(f"--target-mb: a shard may have 1 to {MAX_TARGET_BYTES >> 20} MiB")
    run = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}{secrets.token_hex(4)}"
    store = Store.open(root, run=run)
    there = store.files.folders(layout.ARTIFACTS)
    for name in stages:
        if name not in there:
            raise UsageError(f"--stage {name}: the store has no artifacts of it{did_you_mean(name, there)}")
    tables = () if stages else tuple(RULES)
    chosen = tuple(stages) or tuple(there)
    if dry_run:
        return _Work(store, grace_seconds, lambda: None).preview(chosen, tables, target_bytes)
    with CompactionLock(store.files) as lock:
        work = _Work(store, grace_seconds, lock.beat)
        remove_due(store.files)
        work.run(chosen, tables, target_bytes, progress)
        remove_due(store.files)
        work.result.files_after = _count(store.files, chosen, tables)
        work.result.kept = len(retired(store.files))
        return work.result


class _Work:
    def __init__(self, store: Store, grace_seconds: float, beat: Callable[[], None]) -> None:
        self._files = store.files
        self._grace_ns = int(grace_seconds * 1e9)
        self._beat = beat
        self._notes = 0
        self.result = Compaction()

    def preview(self, stages: Sequence[str], tables: Sequence[str], target_bytes: int) -> Compaction:
        groups = self._groups(stages, tables, target_bytes)
        self.result.merged = sum(len(group) for _, group in groups)
        self.result.made = len(groups)
        self.result.nbytes = sum(shard.nbytes for _, group in groups for shard in group)
        self.result.files_before = self.result.files_after = _count(self._files, stages, tables)
        return self.result

    def run(
        self,
        stages: Sequence[str],
        tables: Sequence[str],
        target_bytes: int,
        progress: Callable[[int, int], None],
    ) -> None:
        self.result.files_before = _count(self._files, stages, tables)
        for stage in stages:
            self._remove_repeated(stage)
        groups = self._groups(stages, tables, target_bytes)
        self._check_room(groups)
        for done, (folder, group) in enumerate(groups):
            progress(done, len(groups))
            self._beat()
            self._merge(folder, [shard.rows_file for shard in group])
        progress(len(groups), len(groups))

    def _groups(
        self, stages: Sequence[str], tables: Sequence[str], target_bytes: int
    ) -> list[tuple[str, list[_Shard]]]:
        """Folder and shards of all that is to be merged."""
        found: list[tuple[str, list[_Shard]]] = []
        for folder in tables:
            limit = min(target_bytes, _TABLE_BYTES)
            found += [(folder, group) for group in _grouped(self._shards(folder), limit, limit)]
        for stage in stages:
            folder = layout.artifact_folder(stage)
            limits = (target_bytes, min(target_bytes, _ROWS_BYTES))
            found += [(folder, group) for group in _grouped(self._shards(folder), *limits)]
        return found

    def _shards(self, folder: str) -> list[_Shard]:
        """The committed shards of a folder; what is no shard, or cannot be read, is left alone and named."""
        tensors: dict[str, int] = {}
        for name in self._files.names(folder, ".safetensors"):
            rows = layout.rows_file(name)
            tensors[rows] = tensors.get(rows, 0) + self._files.size(name)
        known: dict[str, str] = {}
        order = RULES[folder].identity[0] if folder in RULES else "clip_id"
        found = []
        for number, name in enumerate(self._files.names(folder, ".parquet")):
            if number % 1000 == 0:
                self._beat()
            try:
                first = self._files.read_table(name, [order])
                metadata = repr(sorted((first.schema.metadata or {}).items()))
            except StoreError as error:
                self.result.problems.append(str(error))
                continue
            if not len(first):
                continue
            rows_bytes = self._files.size(name)
            nbytes = rows_bytes + tensors.get(name, 0)
            metadata = known.setdefault(metadata, metadata)
            found.append(_Shard(name, rows_bytes, nbytes, str(first[order][0]), metadata))
        return found

    def _merge(self, folder: str, group: list[str]) -> None:
        """Merges a group; a damaged shard is named and left out."""
        while len(group) > 1:
            try:
                if folder in RULES:
                    merged = merge_parts(self._files, folder, group)
                else:
                    stage = folder.removeprefix(f"{layout.ARTIFACTS}/")
                    merged = merge_shards(self._files, stage, group, retire=self._retire, beat=self._beat)
            except Damaged as damage:
                self.result.problems.append(str(damage))
                group = [shard for shard in group if shard != damage.shard]
                continue
            self.result.merged += len(merged.replaced)
            self.result.made += 1
            self.result.nbytes += merged.nbytes
            if not self._grace_ns:
                remove_due(self._files)
            return

    def _retire(self, tensors: Iterable[str]) -> None:
        if tensors := sorted(tensors):
            retire(self._files, self._notes, tensors, time.time_ns() + self._grace_ns)
            self._notes += 1

    def _remove_repeated(self, stage: str) -> None:
        """Removes shards all of whose keys are in others too: what a compaction that was killed has left."""
        folder = layout.artifact_folder(stage)
        columns: dict[str, pa.ChunkedArray] = {}
        for name in self._files.names(folder, ".parquet"):
            try:
                columns[name] = self._files.read_table(name, ["key"])["key"]
            except StoreError as error:
                self.result.problems.append(str(error))
        names = sorted(columns, key=lambda name: (-len(columns[name]), name))  # the merged one stays
        if not names:
            return
        keys = pa.chunked_array([c for name in names for c in columns[name].chunks], type=pa.string())
        file_of_row = np.repeat(np.arange(len(names)), [len(columns[name]) for name in names])
        holder = file_of_row[np.asarray(pc.index_in(keys, value_set=keys))]
        needed = np.zeros(len(names), dtype=bool)
        needed[holder] = True
        for number in np.flatnonzero(~needed):
            self._beat()
            holders = {names[other] for other in holder[file_of_row == number]}
            try:
                for other in holders:
                    check_whole(self._files, other)
                rows = self._files.read_table(names[number])
                self._retire(f"{folder}/{file}" for file in tensor_files(rows))
                remove_rows(self._files, [names[number]], set(columns[names[number]].to_pylist()))
            except StoreError as error:
                self.result.problems.append(str(error))
                continue
            self.result.merged += 1

    def _check_room(self, groups: Sequence[tuple[str, Sequence[_Shard]]]) -> None:
        """Old and new tensors lie side by side until the old ones' time is over."""
        sizes = [sum(shard.nbytes for shard in group) for _, group in groups]
        needed = sum(sizes) if self._grace_ns else max(sizes, default=0)
        free = self._files.free_bytes()
        if free is not None and needed > free:
            raise StoreError(
                f"store {self._files.root}: merging needs {needed / 1e9:.1f} GB beside the old shards and the disk has "
                f"{free / 1e9:.1f} GB left; take one --stage at a time, or --grace 0 when nobody reads the store"
            )


def _grouped(shards: Iterable[_Shard], limit: int, rows_limit: int) -> list[list[_Shard]]:
    """Small shards of equal metadata, cut into groups of two or more that fit the limits, in the order of their
    clips. What is merged is more than half full, but for one group of each kind: so nothing is merged twice."""
    kinds: dict[str, list[_Shard]] = {}
    for shard in shards:
        if shard.nbytes < limit / 2 and shard.rows_bytes < rows_limit / 2:
            kinds.setdefault(shard.metadata, []).append(shard)
    groups: list[list[_Shard]] = []
    for kind in kinds.values():
        group: list[_Shard] = []
        nbytes = rows_bytes = 0
        for shard in sorted(kind, key=lambda shard: (shard.order, shard.rows_file)):
            if group and (nbytes + shard.nbytes > limit or rows_bytes + shard.rows_bytes > rows_limit):
                groups.append(group)
                group, nbytes, rows_bytes = [], 0, 0
            group.append(shard)
            nbytes += shard.nbytes
            rows_bytes += shard.rows_bytes
        groups.append(group)
    return [group for group in groups if len(group) > 1]


def _count(files: StoreFiles, stages: Sequence[str], tables: Sequence[str]) -> int:
    """Parquet and tensor files, without the old ones that are kept for readers."""
    folders = [*tables, *(layout.artifact_folder(stage) for stage in stages)]
    names = {name for folder in folders for name in files.names(folder) if "/part-" in name}
    return len(names - retired(files).keys())
