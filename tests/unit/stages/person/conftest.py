"""Skeleton, face and mask over an estimator that answers from a script."""

from __future__ import annotations

import pytest
from helpers.people import HEIGHT, WIDTH, ScriptedEstimator, windows

from schemas import ClipRecord
from stages.person.estimator import EstimatorConfig
from stages.person.face import Face, FaceConfig
from stages.person.mask import Mask, MaskConfig
from stages.person.person_pass import PersonPass
from stages.person.skeleton import Skeleton, SkeletonConfig
from wanprep.stage import ClipContext


@pytest.fixture
def run(tmp_path):
    contexts = []

    def run(
        script,
        frames,
        *,
        size=7,
        scale=1,
        stages=("skeleton", "face", "mask"),
        settings=None,
        gaps=None,
        subject=None,
        **options,
    ):
        config = EstimatorConfig(long_side=WIDTH, **(settings or {}))
        clip = ClipRecord(
            clip_id="c", recipe="r", width=WIDTH * scale, height=HEIGHT * scale, subject=subject
        )
        context = ClipContext(clip, {}, tmp_path)
        contexts.append(context)
        estimator = ScriptedEstimator(config, script, **options)
        context.shared(("person", config), lambda: PersonPass(config, estimator, clip))
        made = {
            "skeleton": Skeleton(SkeletonConfig(estimator=config, **(gaps or {}))),
            "face": Face(FaceConfig(estimator=config, **(gaps or {}))),
            "mask": Mask(MaskConfig(estimator=config, short_side=60)),
        }
        folds = {name: made[name].begin(context, {}) for name in stages}
        for window in windows(frames, size, scale):
            for fold in folds.values():
                fold.add(window)
        return {name: fold.finish({}) for name, fold in folds.items()}, estimator

    yield run
    for context in contexts:
        context.close()
