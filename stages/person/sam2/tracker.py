"""One chunk of frames through SAM2's video model, frame by frame, with no more of the past than it looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from stages.person.sam2.config import Sam2Config
from wanprep.animate.sam_prompts import Chunk, Prompt
from wanprep.media.geometry import Size
from wanprep.media.image import RGB
from wanprep.models.device import torch_device, torch_dtype, with_less
from wanprep.models.errors import ModelBroken
from wanprep.models.loading import from_pretrained
from wanprep.models.resolve import resolve

Logits = npt.NDArray[np.float32]

# Of ImageNet, as SAM2 was trained with.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_PERSON = 1  # the only object
_HOLE = 8  # pixels of the network's own mask: smaller holes are filled (SAM2's video predictor)
_FILLED = 0.1  # the logit that they get there


class Sam2Tracker:
    """A loaded model. `side` is of the square pictures that it takes, pixels.

    Raises:
        ModelMissing: the model is not on this machine.
        ModelBroken: a tensor is missing, unexpected or misshapen, or pictures are not square.
    """

    def __init__(self, config: Sam2Config) -> None:
        folder = resolve(config.model).path
        self._transformers = import_module("transformers")
        self._device, self._dtype = torch_device(config.device), torch_dtype(config.precision)
        loaded = from_pretrained(self._transformers.Sam2VideoModel, folder, dtype=self._dtype)
        self._model = loaded.eval().requires_grad_(False).to(self._device)
        sides = np.unique(self._model.config.image_size)
        if len(sides) != 1:
            raise ModelBroken(f"model {folder}: image_size {self._model.config.image_size} is not square")
        self.side = int(sides[0])
        # Frames whose memory or pointer a later one looks at.
        self._remembered = max(self._model.num_maskmem, self._model.config.max_object_pointers_in_encoder)

    def follow(
        self,
        chunk: Chunk,
        picture: Callable[[int], RGB],
        size: Size,
        carried: Logits | None = None,
    ) -> Iterator[tuple[int, Logits]]:
        """Frame and logits float32 [h,w] of each frame of a chunk, in any order: above 0 is the person.

        Frames before the first prompt are followed backwards from it. No prompt and nothing carried gives nothing.

        Args:
            picture: of a frame of the chunk, uint8 [side, side, 3].
            size: width, height that the prompts are in.
            carried: the logits of the chunk's first frame.
        """
        session = self._session(chunk.frames)
        keys = set()
        if carried is not None:
            mask_HW = cv2.resize(carried, (self.side, self.side), interpolation=cv2.INTER_LINEAR) > 0
            session.add_mask_inputs(_PERSON - 1, 0, import_module("torch").tensor(mask_HW[None, None]))
            self._step(session, 0, picture, new=True)
            keys.add(0)
        for prompt in chunk.prompts:
            if prompt.frame not in keys:
                session.add_point_inputs(_PERSON - 1, prompt.frame, self._points(prompt, size))
                self._step(session, prompt.frame, picture, new=True)
                keys.add(prompt.frame)
        if not keys:
            return
        first = min(keys)
        for frame in range(first - 1, -1, -1):
            yield frame, self._step(session, frame, picture, reverse=True)
        for frame in range(first, chunk.frames):
            yield frame, self._step(session, frame, picture)

    def _session(self, frames: int) -> Any:
        # The library counts the frames it holds; here it holds one at a time, of a chunk of so many.
        base = self._transformers.Sam2VideoInferenceSession
        session = type("ChunkSession", (base,), {"num_frames": frames})(
            video_height=self.side,
            video_width=self.side,
            inference_device=self._device,
            inference_state_device=self._device,
            video_storage_device=self._device,
            dtype=self._dtype,
        )
        session.obj_id_to_idx(_PERSON)
        return session

    def _points(self, prompt: Prompt, size: Size) -> dict[str, Any]:
        torch = import_module("torch")
        scaled_KC = prompt.points_KC * (self.side / np.array(size))
        return {
            "point_coords": torch.tensor(scaled_KC[None, None], dtype=torch.float32),
            "point_labels": torch.tensor(prompt.labels_K[None, None], dtype=torch.int32),
        }

    def _step(
        self,
        session: Any,
        frame: int,
        picture: Callable[[int], RGB],
        *,
        new: bool = False,
        reverse: bool = False,
    ) -> Logits:
        torch = import_module("torch")
        kept = session.output_dict_per_obj[_PERSON - 1]
        if new:
            session.obj_with_new_inputs = [_PERSON]
        if frame not in kept["cond_frame_outputs"]:
            pixels_HWC = torch.tensor(picture(frame), device=self._device).float() / 255
            pixels_HWC = (pixels_HWC - pixels_HWC.new_tensor(_MEAN)) / pixels_HWC.new_tensor(_STD)
            session.processed_frames = {frame: pixels_HWC.permute(2, 0, 1).to(self._dtype)}
        with torch.inference_mode():
            made = with_less([self.side], lambda _: self._model(session, frame_idx=frame, reverse=reverse))
            logits_HW = made.pred_masks[0, 0].float().cpu().numpy()
        # What the library keeps of every frame would fill the memory; the large masks nobody asks for again.
        for outputs in kept.values():
            for output in outputs.values():
                output.pop("high_res_masks", None)
        followed = kept["non_cond_frame_outputs"]
        for old in [index for index in followed if abs(index - frame) > self._remembered]:
            del followed[old]
        return fill_holes(logits_HW)


def fill_holes(logits_HW: Logits) -> Logits:
    """A mask's logits with holes of up to 8 pixels closed, as SAM2's video predictor does."""
    outside = (logits_HW <= 0).astype(np.uint8)
    _, labels_HW, stats, _ = cv2.connectedComponentsWithStats(outside, connectivity=8)
    small = stats[:, cv2.CC_STAT_AREA] <= _HOLE
    small[0] = False  # the mask itself
    filled_HW: Logits = np.where(small[labels_HW], np.float32(_FILLED), logits_HW)
    return filled_HW
