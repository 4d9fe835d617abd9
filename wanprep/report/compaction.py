"""What a compaction did, for people."""

from __future__ import annotations

from rich.console import Console

from wanprep.hints import plural, size_text
from wanprep.store.compact import Compaction
from wanprep.terminal import shown


def print_compaction(console: Console, done: Compaction, *, dry_run: bool) -> None:
    """One line for the result; one for each shard that is left alone, with the reason."""
    for problem in done.problems:
        console.print(f"[red]left alone[/] {shown(problem)}", soft_wrap=True, highlight=False)
    if dry_run:
        text = (
            f"would merge {plural(done.merged, 'shard')} into {done.made:,}, copying {size_text(done.nbytes)}"
        )
        text += f"; {plural(done.files_before, 'file')} now"
    elif done.merged:
        text = f"{plural(done.merged, 'shard')} merged into {done.made:,}: {done.files_before:,} files -> "
        text += f"{done.files_after:,}, {size_text(done.nbytes)} written"
    else:
        text = f"nothing to merge: {plural(done.files_before, 'file')}"
    if done.kept:
        text += f"; {plural(done.kept, 'old tensor file')} kept for readers (a later run or compaction removes them)"
    console.print(text, soft_wrap=True, highlight=False)
