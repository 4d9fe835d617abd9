"""From an RGB picture to CLIP's normalised square, by the two rules that Wan's code bases use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wanprep.media.image import RGB, centre_crop, resize_short_side

if TYPE_CHECKING:
    import torch

# Of OpenAI's CLIP, which the xlm-roberta ViT-H/14 model was trained with, too.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def stretched_CHW(rgb_HWC: RGB, side: int, *, bfloat16: bool = False) -> torch.Tensor:
    """The whole picture pulled to `side` x `side`, float32 [3, side, side], normalised (Wan2.2 official code).

    Bicubic (a = -0.75) without antialiasing on values in [-1, 1], not clipped before normalisation. `bfloat16`
    rounds the values first, as Wan2.2-Animate does with every picture that it loads.
    """
    import torch
    from torch.nn.functional import interpolate

    values_CHW = torch.from_numpy(np.ascontiguousarray(rgb_HWC.transpose(2, 0, 1))).float() / 127.5 - 1
    if bfloat16:
        values_CHW = values_CHW.to(torch.bfloat16).float()
    square_CHW = interpolate(values_CHW[None], size=(side, side), mode="bicubic", align_corners=False)[0]
    return _normalised(square_CHW * 0.5 + 0.5)


def centre_cropped_CHW(rgb_HWC: RGB, side: int) -> torch.Tensor:
    """The middle square, float32 [3, side, side], normalised (diffusers' WanAnimatePipeline).

    The shorter side is brought to `side` by Pillow's antialiased bicubic filter, in 8 bits; what is left over of
    the longer one is cut off on both ends.
    """
    import torch

    square_HWC = centre_crop(resize_short_side(rgb_HWC, side), (side, side))
    return _normalised(torch.from_numpy(square_HWC.transpose(2, 0, 1).astype(np.float32) / 255))


def _normalised(values_CHW: torch.Tensor) -> torch.Tensor:
    import torch

    mean_C11 = torch.tensor(MEAN).view(3, 1, 1)
    std_C11 = torch.tensor(STD).view(3, 1, 1)
    return (values_CHW - mean_C11) / std_C11
