"""Still pictures: reading any kind as 8-bit RGB, and the resize rules that Wan's preprocessing uses.

Pictures are `rgb_HWC`: uint8 [height, width, 3], upright. Numbers are taken as they are in the file: colour profiles
are not applied, as in the Wan2.2 official code.
"""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from wanprep.errors import MediaError
from wanprep.media.demux import MAX_PIXELS
from wanprep.media.geometry import Size
from wanprep.media.probe import MAX_SIDE, MediaInfo, VideoInfo
from wanprep.media.source import is_remote, local_path, reason, refusal
from wanprep.remote import cause, is_client_trouble

if TYPE_CHECKING:
    from PIL import Image as PillowImage

RGB: TypeAlias = npt.NDArray[np.uint8]
Level = TypeVar("Level", np.uint8, np.float32)
Resample: TypeAlias = Literal["nearest", "bilinear", "bicubic", "lanczos"]

# Those that only decode: EPS runs an interpreter, others are for icons, maps and telescopes.
_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "JPEG2000", "PPM", "TGA")
_TAKEN = "PNG, JPEG, WebP, AVIF, GIF, TIFF, BMP, JPEG 2000, PPM, TGA"
_ORIENTATION = 0x0112  # the tag of EXIF 2.3 that says how the camera was held
# Degrees counter-clockwise of the stored picture, as of a video; 2, 4, 5 and 7 are mirrored besides.
_ROTATION = {3: 180, 4: 180, 5: 270, 6: 270, 7: 90, 8: 90}
_STILL_RATE = 25.0  # frames a second that FFmpeg gives a still picture, too
_WIDE_GREY = ("I", "I;16", "I;16B", "I;16L", "I;16N")


def read_image(uri: str) -> RGB:
    """A picture as uint8 RGB [height, width, 3], upright by its EXIF orientation.

    Transparent parts are laid over white, so that a cut-out figure stands before a plain ground whatever colour its
    transparent pixels hold. CMYK is converted without a profile, of 16 bits the upper 8 are kept, of an animation
    the first picture, of several pages the first.

    Args:
        uri: a path, file:// or a remote address that fsspec reads.

    Raises:
        MediaError: the file is missing, empty, damaged, too large, or no picture; one line that names it.
    """
    try:
        with _opened(uri) as picture:
            _upright(picture)
            return _rgb_HWC(picture)
    except MediaError as error:
        raise MediaError(f"picture {os.path.basename(uri) or uri}: {error}") from error


def probe_image(uri: str) -> MediaInfo:
    """What is in a picture file, after decoding it: a video stream of one frame. Size as shown.

    Raises:
        MediaError: as in `read_image`, without the file's name.
    """
    with _opened(uri) as picture:
        codec = (picture.format or "picture").lower()
        rotation = _upright(picture)
        width, height = picture.size
        # Of most kinds one pixel tells whether they can be converted, and four threads look at pictures at a time.
        _rgb_HWC(picture if picture.mode in _WIDE_GREY else picture.crop((0, 0, 1, 1)))
    video = VideoInfo(
        width=width,
        height=height,
        rotation=rotation,
        frames=1,
        fps=_STILL_RATE,
        variable_rate=False,
        first_time=0.0,
        seconds=1 / _STILL_RATE,
        codec=codec,
    )
    return MediaInfo(video=video, audio=None)


@contextlib.contextmanager
def _opened(uri: str) -> Iterator[PillowImage.Image]:
    """The picture in a file, not yet decoded, its size checked. What goes wrong until it is closed is a MediaError."""
    from PIL import Image, UnidentifiedImageError

    # Its limit is above ours, which is an error and not a warning.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    with contextlib.ExitStack() as stack:
        try:
            file = _file(uri, stack)
            picture = stack.enter_context(Image.open(file, formats=_FORMATS))
            _check_size(*picture.size)
            yield picture
        except MediaError:
            raise
        except UnidentifiedImageError as error:
            raise MediaError(f"is no picture, or in a format that is not taken ({_TAKEN} are)") from error
        except Image.DecompressionBombError as error:
            raise MediaError(f"is over {MAX_PIXELS // 1_000_000} million pixels") from error
        # Decoders of damaged pictures raise whatever their parsing stumbles over: a dozen types have been seen.
        except Exception as error:
            if is_remote(uri) and is_client_trouble(error):
                raise MediaError(f"cannot be read: {cause(error)}") from error
            raise MediaError(f"damaged: it does not decode ({reason(error)})") from error


def _file(uri: str, stack: contextlib.ExitStack) -> IO[bytes]:
    """An open file.

    Raises:
        MediaError: there is none that may be read.
    """
    if why_not := refusal(uri):
        raise MediaError(why_not)
    if is_remote(uri):
        import fsspec

        try:
            remote: IO[bytes] = stack.enter_context(fsspec.open(uri, "rb"))
        except Exception as error:
            if not isinstance(error, OSError | ValueError | ImportError) and not is_client_trouble(error):
                raise
            raise MediaError(f"cannot be read: {cause(error)}") from error
        return remote
    path = local_path(uri)
    if not os.path.exists(path):
        raise MediaError("the file does not exist")
    # Opening a named pipe would wait for ever.
    if not os.path.isfile(path):
        raise MediaError("is no regular file")
    if os.path.getsize(path) == 0:
        raise MediaError("the file is empty (0 bytes)")
    try:
        return stack.enter_context(open(path, "rb"))
    except OSError as error:
        raise MediaError(f"cannot be read: {reason(error)}") from error


def _check_size(width: int, height: int) -> None:
    if max(width, height) > MAX_SIDE:
        raise MediaError(f"is {width}x{height}: over {MAX_SIDE:,} pixels wide or high")
    if width * height > MAX_PIXELS:
        raise MediaError(f"is {width}x{height}: over {MAX_PIXELS // 1_000_000} million pixels")
    if min(width, height) < 1:
        raise MediaError(f"is {width}x{height}: without pixels")


def _upright(picture: PillowImage.Image) -> int:
    """Decodes the picture and turns it as its EXIF orientation says; how far it lay turned, degrees."""
    from PIL import ImageOps

    # Asked for first: TIFF pictures are turned while they load, and forget that they lay.
    rotation = _ROTATION.get(picture.getexif().get(_ORIENTATION, 1), 0)
    picture.load()
    ImageOps.exif_transpose(picture, in_place=True)
    return rotation


def _rgb_HWC(picture: PillowImage.Image) -> RGB:
    from PIL import Image

    if picture.mode in _WIDE_GREY:
        return _from_wide_grey(np.asarray(picture))
    if picture.mode == "F":
        raise MediaError("holds floating-point values, whose range is not known: save it with 8 or 16 bits")
    if picture.has_transparency_data:
        over = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
    # Large pictures are not copied without need.
    return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"), dtype=np.uint8)


def _from_wide_grey(grey_HW: npt.NDArray[np.generic]) -> RGB:
    low, high = int(np.min(grey_HW)), int(np.max(grey_HW))  # type: ignore[call-overload]
    if low < 0 or high > 0xFFFF:
        raise MediaError("holds grey values of 32 bits, whose range is not known: save it with 8 or 16 bits")
    upper_HW = (grey_HW.astype(np.uint16) >> 8).astype(np.uint8)
    return np.repeat(upper_HW[:, :, None], 3, axis=2)


def resize_stretch(rgb_HWC: RGB, size: Size, resample: Resample = "bicubic") -> RGB:
    """Scales to `size` (width, height) whatever the aspect, with Pillow's antialiased filters; uint8."""
    from PIL import Image

    picture = Image.fromarray(rgb_HWC)
    return np.array(picture.resize(size, Image.Resampling[resample.upper()]), dtype=np.uint8)


def resize_short_side(rgb_HWC: RGB, short_side: int, resample: Resample = "bicubic") -> RGB:
    """Scales until the shorter side has `short_side` pixels; the longer one is cut to whole pixels (torchvision)."""
    height, width = rgb_HWC.shape[:2]
    return resize_stretch(rgb_HWC, short_side_size(width, height, short_side), resample)


def short_side_size(width: int, height: int, short_side: int) -> Size:
    """Width and height with the shorter side at `short_side`, the longer one cut to whole pixels (torchvision)."""
    if width <= height:
        return short_side, max(1, int(short_side * height / width))
    return max(1, int(short_side * width / height)), short_side


def centre_crop(
    rgb_HWC: npt.NDArray[Level], size: Size, offset: Literal["floor", "half_even"] = "floor"
) -> npt.NDArray[Level]:
    """The middle of a picture in `size` (width, height), with zeros around it where the picture is smaller.

    `offset` says where an odd remainder goes: "floor" is transformers' image processors' rule, "half_even" is
    torchvision's, which the Wan2.2 official code uses for the S2V reference.
    """
    width, height = size
    out_HWC = np.zeros((height, width, rgb_HWC.shape[2]), rgb_HWC.dtype)
    from_y, to_y, rows = _middle(rgb_HWC.shape[0], height, offset)
    from_x, to_x, columns = _middle(rgb_HWC.shape[1], width, offset)
    taken = np.s_[from_y : from_y + rows, from_x : from_x + columns]
    out_HWC[to_y : to_y + rows, to_x : to_x + columns] = rgb_HWC[taken]
    return out_HWC


def fit_s2v(rgb_HWC: RGB, size: Size) -> RGB:
    """A picture as Wan2.2-S2V's official code brings the reference to `size` (width, height): its shorter side to the
    size's shorter side, the middle cut out, black where it does not reach."""
    return centre_crop(resize_short_side(rgb_HWC, min(size), "bilinear"), size, offset="half_even")


def _middle(have: int, want: int, offset: str) -> tuple[int, int, int]:
    """Where to take from, where to put, how many."""
    if have < want:
        return 0, (want - have) // 2, have
    start = round((have - want) / 2) if offset == "half_even" else (have - want) // 2
    return start, 0, want


def size_by_area(width: int, height: int, area: int, multiple: int = 16) -> Size:
    """Width and height of about `area` pixels in the aspect of a picture, both down to a multiple (Wan2.2-Animate's
    official preprocessing). At least one multiple each, where the official code fails on thin strips."""
    aspect = width / height
    ideal_height = math.sqrt(area / aspect)
    ideal_width = area / ideal_height
    return (
        max(multiple, math.floor(ideal_width / multiple) * multiple),
        max(multiple, math.floor(ideal_height / multiple) * multiple),
    )


def letterbox_box(source: Size, size: Size) -> tuple[int, int, int, int]:
    """Where the picture of size `source` lies in its letterbox of `size` (width, height): x0 y0 x1 y1, exclusive."""
    width, height = size
    if source[1] / source[0] > height / width:
        inner = max(1, int(height / source[1] * source[0]))
        left = int((width - inner) / 2)
        return left, 0, left + inner, height
    inner = max(1, int(width / source[0] * source[1]))
    top = int((height - inner) / 2)
    return 0, top, width, top + inner


def letterbox(rgb_HWC: RGB, size: Size, resample: Literal["bilinear", "area"] = "bilinear") -> RGB:
    """The whole picture inside `size` (width, height) with black beside it, scaled by OpenCV's bilinear filter
    without antialiasing, or by its area filter (Wan2.2-Animate official code, rule for rule)."""
    import cv2

    how = cv2.INTER_AREA if resample == "area" else cv2.INTER_LINEAR
    x0, y0, x1, y1 = letterbox_box((rgb_HWC.shape[1], rgb_HWC.shape[0]), size)
    out_HWC = np.zeros((size[1], size[0], 3), np.uint8)
    out_HWC[y0:y1, x0:x1] = cv2.resize(rgb_HWC, (x1 - x0, y1 - y0), interpolation=how)
    return out_HWC
