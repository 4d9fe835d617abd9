"""The size that S2V generates at for a reference picture."""

from __future__ import annotations

from golden.golden_file import GoldenFile
from golden.topic import Topic
from wanprep.models.vae_sizes import s2v_size


def check(file: GoldenFile, case: str) -> None:
    fields = file.case(case)
    width, height = s2v_size(fields["image_width"], fields["image_height"], fields["max_area"])
    assert (height, width) == (fields["out_height"], fields["out_width"])


TOPICS = [Topic(files=("s2v/size_bucket*.json",), check=check)]
