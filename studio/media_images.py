"""Pictures in: checked by their header, then decoded to upright 8-bit sRGB."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from studio import sizes
from studio.errors import BadInput
from studio.media_open import PICTURE_ERRORS, open_picture, require_file

MIN_SIDE = 16
"""Pixels. Half a latent cell of LTX, two of SDXL: below it there is nothing to start from."""

MAX_PIXELS = 100_000_000
"""Above every camera that people own, and 300 MB once decoded."""

PREVIEW_SIDE = 256
PREVIEW_QUALITY = 80
"""JPEG quality; a preview lives for a second, and goes over the network each time."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture with this EXIF orientation upright."""
_SIDEWAYS = frozenset({5, 6, 7, 8})


@dataclass(frozen=True)
class ImageInfo:
    """Width and height are those of the upright picture; `format` is Pillow's name, "JPEG"."""

    width: int
    height: int
    format: str


def probe_image(path: Path) -> ImageInfo:
    """What the header says; damage behind the header shows only in `load_image`.

    Raises BadInput: missing, empty, no picture, damaged, smaller than MIN_SIDE, or more than
    MAX_PIXELS.
    """
    with _checked(path) as image:
        width, height = image.size
        if _orientation(image) in _SIDEWAYS:
            width, height = height, width
        return ImageInfo(width, height, image.format or "")


def load_image(path: Path) -> Image.Image:
    """The upright picture as 8-bit sRGB, transparency on white; the first frame of an animation.

    Raises BadInput as `probe_image`, and for a picture that is damaged or cut off.
    """
    with _checked(path) as image:
        turn = _TURNS.get(_orientation(image))
        try:
            image.load()
            rgb = _rgb(image)
        except PICTURE_ERRORS as error:
            raise _damaged() from error
    return rgb if turn is None else rgb.transpose(turn)


def fit_longest_side(image: Image.Image, longest: int) -> Image.Image:
    """The picture with no side over `longest`; a smaller one as it is."""
    size = sizes.fit_longest_side(image.width, image.height, longest)
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)


def cover(image: Image.Image, width: int, height: int) -> Image.Image:
    """The middle of the picture, scaled to fill `width` x `height`."""
    box = sizes.center_crop(image.width, image.height, width, height)
    return image.resize((width, height), Image.Resampling.LANCZOS, box=box)


def small_jpeg(picture: Image.Image | NDArray[np.uint8], longest: int = PREVIEW_SIDE) -> bytes:
    """A JPEG for a preview, from an RGB picture or an array [height, width, 3]."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    jpeg = io.BytesIO()
    small = fit_longest_side(image.convert("RGB"), longest)
    small.save(jpeg, "JPEG", quality=PREVIEW_QUALITY)
    return jpeg.getvalue()


@contextmanager
def _checked(path: Path) -> Iterator[Image.Image]:
    require_file(path)
    with _identified(path) as image:
        _check_size(image.width, image.height)
        yield image


def _identified(path: Path) -> Image.Image:
    try:
        return open_picture(path)
    except Image.DecompressionBombError as error:
        raise _too_large() from error
    except UnidentifiedImageError as error:
        # Here, so that those who only read pictures do not wait for PyAV.
        from studio.media_streams import looks_like

        raise BadInput(
            f"This file is not a picture that can be read; it looks like {looks_like(path)}."
            " Use a PNG, JPEG or WebP file."
        ) from error
    except PICTURE_ERRORS as error:
        raise _damaged() from error


def _check_size(width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE:
        raise BadInput(
            f"This picture is only {width} x {height} pixels:"
            f" use one of at least {MIN_SIDE} x {MIN_SIDE}."
        )
    if width * height > MAX_PIXELS:
        raise _too_large()


def _damaged() -> BadInput:
    return BadInput("This picture is damaged or cut off: save it again, or upload it again.")


def _too_large() -> BadInput:
    return BadInput(
        f"This picture has more than {MAX_PIXELS // 1_000_000} megapixels: make it smaller first."
    )


def _orientation(image: Image.Image) -> int:
    # Only where the header has EXIF: Pillow decodes a whole PNG to look for it behind the pixels,
    # and turns TIFF itself.
    if "exif" not in image.info:
        return 1
    return int(image.getexif().get(ExifTags.Base.Orientation, 1))


def _rgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    image = _eight_bit(image)
    if image.has_transparency_data:
        image = _on_white(image)
    if image.mode not in ("L", "CMYK", "LAB"):
        image = image.convert("RGB")
    return _from_profile(image, profile) if profile else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scaled, where Pillow's own conversion clips everything above 255 to white."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.nan_to_num(np.asarray(image, dtype=np.float32))
    scaled = np.clip(values / _full_scale(image.mode, values) * 255, 0, 255)
    return Image.fromarray(np.rint(scaled).astype(np.uint8))


def _full_scale(mode: str, values: NDArray[np.float32]) -> float:
    """The value of white. Wide modes do not say it: the smallest usual one that holds them all."""
    usual = {"F": (1.0, 255.0), "I": ()}.get(mode, ())
    return next((top for top in (*usual, 65535.0) if values.max() <= top), float(values.max()))


def _from_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """The picture in sRGB: phones write Display P3, and CMYK means nothing without a profile."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (OSError, ImageCms.PyCMSError):
        # Broken, or for another kind of picture: viewers then show it without one.
        return image.convert("RGB")
    return converted or image.convert("RGB")
