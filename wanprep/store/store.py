"""A conditioning store opened: its clips, their artifacts, and what became of the rest."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from schemas import SCHEMA_VERSION, ClipRecord, MediaRecord, OutcomeRecord, Record
from schemas.registry import RECORDS
from schemas.tensor import TENSOR, Tensor, TensorRef
from wanprep.errors import StoreError
from wanprep.hints import did_you_mean
from wanprep.store import layout
from wanprep.store.clip import StoredClip
from wanprep.store.columns import with_new_columns
from wanprep.store.fs import StoreFiles
from wanprep.store.index import KeyIndex, load_outcomes, read_rows
from wanprep.store.parts import Vanished, read_parts

_CACHED_TABLES = 64  # Parquet files kept in memory; their large tensors are elsewhere


class Store:
    """Reads are lazy and cached as of the first look; `refresh` looks again."""

    def __init__(self, files: StoreFiles) -> None:
        self.files = files
        self._tables: dict[str, pa.Table] = {}
        self._indexes: dict[str, KeyIndex] = {}

    @classmethod
    def open(cls, root: str, *, run: str = "") -> Store:
        """Opens an existing store.

        Raises:
            StoreError: there is none, or a newer version of this software wrote it.
        """
        files = StoreFiles(str(root), run)
        if not files.exists(layout.STORE_FILE):
            raise StoreError(
                f"{root}: is no wanprep store (it has no {layout.STORE_FILE}); make one with `wanprep run`"
            )
        try:
            version = int(files.read_json(layout.STORE_FILE)["format_version"])
        except (ValueError, OverflowError, KeyError, TypeError) as error:
            raise StoreError(f"{root}/{layout.STORE_FILE}: is not readable ({error})") from error
        if version > layout.FORMAT_VERSION:
            raise StoreError(
                f"{root}: has store format {version}, this wanprep reads up to {layout.FORMAT_VERSION}; upgrade wanprep"
            )
        return cls(files)

    @classmethod
    def create(cls, root: str, *, run: str = "", created_by: str = "") -> Store:
        """Opens a store, making it when it is not there."""
        files = StoreFiles(str(root), run)
        files.make()
        if not files.exists(layout.STORE_FILE):
            about = {
                "format_version": layout.FORMAT_VERSION,
                "schema_version": SCHEMA_VERSION,
                "created_by": created_by,
                "created_ns": time.time_ns(),
            }
            files.write_bytes(layout.STORE_FILE, json.dumps(about, indent=1).encode())
        return cls.open(root, run=run)

    def refresh(self) -> None:
        """Forgets what was read, so that the next look sees what others have committed since."""
        self._tables.clear()
        self._indexes.clear()
        self.files.forget()
        self.__dict__.pop("_clip_rows", None)

    # Tables

    def table(self, name: str) -> pa.Table | None:
        """The whole `clips` or `media` table; None when it is empty."""
        if name not in self._tables:
            record = ClipRecord if name == layout.CLIPS else MediaRecord
            _, parts = read_parts(self.files, name, lambda part: read_rows(self.files, part, record))
            if not parts:
                return None
            self._tables[name] = pa.concat_tables(parts)
        return self._tables[name]

    def write_rows(
        self, table: str, record: type[Record], rows: Sequence[Record], identity: Sequence[str]
    ) -> str:
        """Commits rows of the `clips`, `media` or `outcomes` table as one file named after `identity`."""
        name = f"{table}/{layout.shard_name(identity)}.parquet"
        data = pa.Table.from_pylist([row.to_row() for row in rows], schema=record.SCHEMA)
        self.files.write_table(name, data.replace_schema_metadata({"wanprep.schema": str(SCHEMA_VERSION)}))
        return name

    @functools.cached_property
    def _clip_rows(self) -> dict[str, ClipRecord]:
        """The newest row of each clip."""
        table = self.table(layout.CLIPS)
        if table is None:
            return {}
        newest = table.sort_by([("created_ns", "ascending")])
        return {row["clip_id"]: ClipRecord.from_row(row) for row in newest.to_pylist()}

    def clip_records(self) -> list[ClipRecord]:
        """The newest row of each clip, by id."""
        return [self._clip_rows[name] for name in sorted(self._clip_rows)]

    def media_records(self) -> dict[str, MediaRecord]:
        """The newest row of each input file, by address."""
        table = self.table(layout.MEDIA)
        if table is None:
            return {}
        return {row["uri"]: MediaRecord.from_row(row) for row in table.sort_by("modified_ns").to_pylist()}

    def outcomes(self) -> list[OutcomeRecord]:
        """Everything that was skipped or failed, newest first."""
        table = load_outcomes(self.files)
        return [] if table is None else [OutcomeRecord.from_row(row) for row in table.to_pylist()]

    def outcome(self, key: str) -> OutcomeRecord | None:
        """The newest outcome of a key."""
        table = load_outcomes(self.files)
        if table is None:
            return None
        rows = table.filter(pc.equal(table["key"], key)).slice(0, 1).to_pylist()
        return OutcomeRecord.from_row(rows[0]) if rows else None

    def recipe_document(self, digest: str) -> Mapping[str, Any] | None:
        """The recipe a clip row names, as it was stored."""
        name = f"{layout.RECIPES}/{layout.checked(digest)}.json"
        if not self.files.exists(name):
            return None
        document = self.files.read_json(name)
        return document if isinstance(document, dict) else None

    # Clips and artifacts

    def clips(self) -> Iterator[StoredClip]:
        """Every clip, by id."""
        for record in self.clip_records():
            yield StoredClip(self, record)

    def clip(self, clip_id: str) -> StoredClip:
        """One clip, by its id or by the only id that begins so.

        Raises:
            StoreError: no clip has this id, or several begin with it.
        """
        rows = self._clip_rows
        if clip_id not in rows:
            matches = [name for name in rows if name.startswith(clip_id)]
            if len(matches) != 1:
                if matches:
                    raise StoreError(
                        f"'{clip_id}' begins {len(matches)} clip ids, such as '{min(matches)}'; give more"
                    )
                raise StoreError(
                    f"store {self.files.root}: has no clip '{clip_id}'{did_you_mean(clip_id, rows)}"
                )
            clip_id = matches[0]
        return StoredClip(self, rows[clip_id])

    def index(self, stage: str) -> KeyIndex:
        """The keys of a stage's artifacts."""
        if stage not in self._indexes:
            self._indexes[stage] = KeyIndex.load(self.files, stage)
        return self._indexes[stage]

    def artifact(
        self, stage: str, key: str, file: str | None = None, record: type[Record] | None = None
    ) -> Record | SimpleNamespace | None:
        """The artifact of a key, or None. `file` is its Parquet file when that is already known; `record` is what
        to read it as, where the stage is a plug-in's. When a compaction has moved it since the stage was first
        looked at, the stage is looked at again.

        Raises:
            StoreError: a shard is missing or damaged.
        """
        try:
            return self._artifact(stage, key, file, record)
        except Vanished:
            self._look_again(stage)
            return self._artifact(stage, key, None, record)

    def _look_again(self, stage: str) -> None:
        folder = f"{layout.artifact_folder(stage)}/"
        self._tables = {name: table for name, table in self._tables.items() if not name.startswith(folder)}
        self._indexes.pop(stage, None)
        self.files.forget()

    def _artifact(
        self, stage: str, key: str, file: str | None, record: type[Record] | None
    ) -> Record | SimpleNamespace | None:
        name = file or self.index(stage).find(key)
        if name is None:
            return None
        table = self._cached(name)
        table = table.filter(pc.equal(table["key"], key)).slice(0, 1)
        record = record or RECORDS.get(stage)
        rows = (table if record is None else with_new_columns(table, record.SCHEMA)).to_pylist()
        if not rows:
            return None
        folder = name.rsplit("/", 1)[0]
        if record is None:
            return self._plain(table.schema, rows[0], folder)
        try:
            return record.from_row(rows[0], lambda ref: self.tensor(ref, folder))
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"store {self.files.root}: {name} is damaged ({error}); see `wanprep verify`"
            ) from error

    def _plain(self, schema: pa.Schema, row: dict[str, Any], folder: str) -> SimpleNamespace:
        tensors = {field.name for field in schema if field.type == TENSOR and row[field.name] is not None}
        return SimpleNamespace(
            **{
                name: self.tensor(TensorRef.from_cell(value), folder) if name in tensors else value
                for name, value in row.items()
            }
        )

    def _cached(self, name: str) -> pa.Table:
        if name not in self._tables:
            while len(self._tables) >= _CACHED_TABLES:
                self._tables.pop(next(iter(self._tables)))
            try:
                self._tables[name] = self.files.read_table(name)
            except StoreError as error:
                if self.files.exists(name):
                    raise
                raise Vanished(str(error)) from error
        return self._tables[name]

    def unreferenced(self) -> list[str]:
        """Tensor files that no row refers to: a commit stopped between its two steps, or is there now."""
        found: list[str] = []
        for stage in self.files.folders(layout.ARTIFACTS):
            folder = layout.artifact_folder(stage)
            rows = set(self.files.names(folder, ".parquet"))
            tensors: dict[str, list[str]] = {}
            for name in self.files.names(folder, ".safetensors"):
                tensors.setdefault(layout.rows_file(name), []).append(name)
            for parquet, names in tensors.items():
                if parquet not in rows:
                    found += names
                elif len(names) > 1:  # a task ran twice: which of them its rows mean, only they know
                    found += sorted(set(names) - self._referenced(parquet, folder))
        return sorted(found)

    def _referenced(self, parquet: str, folder: str) -> set[str]:
        try:
            table = self.files.read_table(parquet)
        except StoreError:
            if self.files.exists(parquet):
                raise
            return set()  # a compaction has moved its rows
        cells = (table.column(field.name).to_pylist() for field in table.schema if field.type == TENSOR)
        return {f"{folder}/{cell['file']}" for column in cells for cell in column if cell and cell["file"]}

    def tensor(self, ref: TensorRef, folder: str) -> Tensor:
        """A tensor's array: read-only, mapped from the shard on a local disk.

        Raises:
            StoreError: the shard is missing or too short.
        """
        name = f"{folder}/{layout.checked(ref.file or '')}" if ref.data is None else f"a cell in {folder}"
        try:
            if ref.data is not None:
                return ref.decode(ref.data)
            return ref.decode(self.files.read_range(name, ref.offset or 0, ref.nbytes))
        except (OSError, ValueError, TypeError) as error:
            gone = ref.data is None and not self.files.exists(name)
            message = f"store {self.files.root}: {name} is missing or damaged ({error})"
            raise (Vanished(message) if gone else StoreError(message)) from error
