"""Pictures in, as they come from phones, cameras, print shops and broken uploads."""

import io
import warnings

import numpy as np
import pytest
from media_files import (
    cut_off,
    numbered_frames,
    quarter_names,
    quarters,
    tone,
    write_grey16_png,
    write_png_header,
    write_turned_jpeg,
    write_video,
    write_wav,
)
from PIL import Image, ImageCms

from studio.errors import BadInput
from studio.media_images import (
    MAX_PIXELS,
    ImageInfo,
    cover,
    fit_longest_side,
    load_image,
    probe_image,
    small_jpeg,
)

UPRIGHT = ["red", "green", "blue", "white"]
# What the four quarters show once a viewer has honoured the orientation.
TURNED = {
    1: UPRIGHT,
    2: ["green", "red", "white", "blue"],
    3: ["white", "blue", "green", "red"],
    4: ["blue", "white", "red", "green"],
    5: ["red", "blue", "green", "white"],
    6: ["blue", "red", "white", "green"],
    7: ["white", "green", "blue", "red"],
    8: ["green", "white", "red", "blue"],
}


def one_sentence(error):
    text = str(error.value)
    assert text.endswith(".") and text.count(". ") <= 1 and "\n" not in text
    return text


@pytest.mark.parametrize("orientation", TURNED)
def test_load_image_honours_exif_orientation(tmp_path, orientation):
    path = write_turned_jpeg(tmp_path / "phone.jpg", orientation, 96, 64)
    image = load_image(path)
    assert quarter_names(image) == TURNED[orientation]
    assert image.size == ((64, 96) if orientation > 4 else (96, 64))
    assert probe_image(path) == ImageInfo(*image.size, "JPEG")


@pytest.mark.parametrize("suffix", ["png", "webp", "tiff", "avif"])
def test_load_image_honours_orientation_in_every_format(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / f"turned.{suffix}"
    quarters(96, 64).save(path, exif=exif)
    assert quarter_names(load_image(path)) == TURNED[6]
    info = probe_image(path)
    assert (info.width, info.height) == (64, 96)


def test_load_image_puts_transparency_on_white(tmp_path):
    image = quarters().convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 48, 32))
    image.save(tmp_path / "logo.png")
    pixels = np.asarray(load_image(tmp_path / "logo.png"))
    assert pixels.shape == (64, 96, 3)
    assert tuple(pixels[10, 10]) == (255, 255, 255)
    assert tuple(pixels[10, 80]) == (30, 200, 30)


def test_load_image_mixes_half_transparency_with_white(tmp_path):
    Image.new("LA", (32, 32), (0, 128)).save(tmp_path / "shade.png")
    assert load_image(tmp_path / "shade.png").getpixel((5, 5)) == (127, 127, 127)


def test_load_image_puts_a_transparent_colour_on_white(tmp_path):
    image = quarters()
    image.save(tmp_path / "key.png", transparency=(220, 30, 30))
    assert load_image(tmp_path / "key.png").getpixel((5, 5)) == (255, 255, 255)


def test_load_image_reads_a_palette(tmp_path):
    quarters().quantize(4).save(tmp_path / "flat.png")
    assert quarter_names(load_image(tmp_path / "flat.png")) == UPRIGHT


def test_load_image_reads_a_transparent_palette(tmp_path):
    image = quarters().quantize(4)
    image.save(tmp_path / "flat.gif", transparency=image.getpixel((5, 5)))
    pixels = np.asarray(load_image(tmp_path / "flat.gif"))
    assert tuple(pixels[5, 5]) == (255, 255, 255)
    assert np.abs(pixels[5, 90].astype(int) - (30, 200, 30)).max() < 6


@pytest.mark.parametrize("mode", ["1", "L"])
def test_load_image_reads_grey(tmp_path, mode):
    quarters().convert(mode).save(tmp_path / "grey.png")
    image = load_image(tmp_path / "grey.png")
    assert image.mode == "RGB"
    assert image.getpixel((90, 60)) == (255, 255, 255)


def test_load_image_reads_a_cmyk_jpeg(tmp_path):
    quarters().convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    assert quarter_names(load_image(tmp_path / "print.jpg")) == UPRIGHT


def test_load_image_scales_16_bits_down(tmp_path):
    ramp = np.tile(np.linspace(0, 65535, 64).round().astype(np.uint16), (64, 1))
    pixels = np.asarray(load_image(write_grey16_png(tmp_path / "scan.png", ramp)))
    assert pixels.shape == (64, 64, 3)
    assert np.abs(pixels[0, :, 0] - ramp[0] / 257).max() <= 0.5


def test_load_image_keeps_a_dark_16_bit_picture_dark(tmp_path):
    path = write_grey16_png(tmp_path / "night.png", np.full((32, 32), 514))
    assert load_image(path).getpixel((0, 0)) == (2, 2, 2)


@pytest.mark.parametrize("white", [1.0, 255.0])
def test_load_image_reads_floating_point(tmp_path, white):
    ramp = np.tile(np.linspace(0, white, 64, dtype=np.float32), (32, 1))
    Image.fromarray(ramp).save(tmp_path / "float.tiff")
    pixels = np.asarray(load_image(tmp_path / "float.tiff"))
    assert (pixels[0, 0, 0], pixels[0, -1, 0]) == (0, 255)
    assert np.abs(pixels[0, :, 0] - np.linspace(0, 255, 64)).max() <= 0.5


def red_and_green_swapped():
    """The sRGB profile with the primaries of red and green in each other's place."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
def test_load_image_converts_a_colour_profile(tmp_path, suffix):
    quarters().save(tmp_path / f"wide.{suffix}", icc_profile=red_and_green_swapped(), quality=95)
    seen = quarter_names(load_image(tmp_path / f"wide.{suffix}"))
    assert seen == ["green", "red", "blue", "white"]


def test_load_image_converts_a_colour_profile_under_transparency(tmp_path):
    image = quarters().convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 48, 32))
    image.save(tmp_path / "wide.png", icc_profile=red_and_green_swapped())
    assert quarter_names(load_image(tmp_path / "wide.png")) == ["white", "red", "blue", "white"]


def test_load_image_leaves_srgb_as_it_is(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "srgb.png", icc_profile=profile)
    assert np.abs(np.asarray(load_image(tmp_path / "srgb.png")).astype(int) - pixels).max() <= 1


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_load_image_ignores_a_broken_or_unfit_profile(tmp_path, mode):
    quarters().convert(mode).save(tmp_path / "odd.jpg", icc_profile=b"nonsense" * 40)
    assert load_image(tmp_path / "odd.jpg").mode == "RGB"
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    quarters().convert(mode).save(tmp_path / "odd.jpg", icc_profile=lab)
    assert load_image(tmp_path / "odd.jpg").size == (96, 64)


def test_load_image_takes_the_first_frame_of_an_animation(tmp_path):
    black = Image.new("RGB", (96, 64))
    for name in ("moving.gif", "moving.webp", "moving.png"):
        quarters().save(tmp_path / name, save_all=True, append_images=[black], lossless=True)
        assert quarter_names(load_image(tmp_path / name)) == UPRIGHT


def test_load_image_reads_a_stereo_photo(tmp_path):
    quarters().save(tmp_path / "two.mpo", save_all=True, append_images=[quarters()])
    assert quarter_names(load_image((tmp_path / "two.mpo").rename(tmp_path / "two.jpg"))) == UPRIGHT


def test_load_image_opens_any_name(tmp_path):
    path = tmp_path / "Café: 日本 \U0001f600 photo (1).png"
    quarters().save(path)
    assert quarter_names(load_image(path)) == UPRIGHT


@pytest.mark.parametrize("read", [probe_image, load_image])
class TestRefusals:
    def test_a_missing_file(self, tmp_path, read):
        with pytest.raises(BadInput, match="There is no file 'gone") as error:
            read(tmp_path / "gone.png")
        one_sentence(error)

    def test_an_empty_file(self, tmp_path, read):
        (tmp_path / "empty.png").touch()
        with pytest.raises(BadInput, match="empty") as error:
            read(tmp_path / "empty.png")
        one_sentence(error)

    def test_a_video(self, tmp_path, read):
        path = write_video(tmp_path / "clip.mp4", numbered_frames(3))
        with pytest.raises(BadInput, match="looks like a video") as error:
            read(path.rename(tmp_path / "clip.png"))
        one_sentence(error)

    def test_a_sound(self, tmp_path, read):
        path = write_wav(tmp_path / "song.png", tone(0.1), 48_000)
        with pytest.raises(BadInput, match="looks like a sound"):
            read(path)

    @pytest.mark.parametrize("text", ["hello", "größer, 日本" * 400, "#EXTM3U\n/etc/hosts\n"])
    def test_a_text(self, tmp_path, read, text):
        (tmp_path / "notes.png").write_text(text, encoding="utf-8")
        with pytest.raises(BadInput, match="looks like a text file"):
            read(tmp_path / "notes.png")

    def test_random_bytes(self, tmp_path, read):
        (tmp_path / "blob.png").write_bytes(np.random.default_rng(0).bytes(5000))
        with pytest.raises(BadInput, match="neither a picture nor a video"):
            read(tmp_path / "blob.png")

    def test_an_iphone_photo(self, tmp_path, read):
        (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 99)
        with pytest.raises(BadInput, match="HEIC"):
            read(tmp_path / "photo.heic")

    def test_postscript_never_reaches_ghostscript(self, tmp_path, read):
        quarters().save(tmp_path / "figure.eps")
        with pytest.raises(BadInput, match="not a picture that can be read"):
            read(tmp_path / "figure.eps")

    def test_a_single_pixel(self, tmp_path, read):
        Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
        with pytest.raises(BadInput, match="1 x 1 pixels: use one of at least 16 x 16"):
            read(tmp_path / "dot.png")

    @pytest.mark.parametrize("size", [(10_001, 10_000), (14_000, 10_000), (20_000, 10_000)])
    def test_a_huge_picture_without_decoding_it(self, tmp_path, read, size):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(BadInput, match="more than 100 megapixels") as error:
                read(write_png_header(tmp_path / "huge.png", *size))
        one_sentence(error)


def test_probe_image_takes_the_largest_picture(tmp_path):
    path = write_png_header(tmp_path / "large.png", 10_000, 10_000)
    info = probe_image(path)
    assert info.width * info.height == MAX_PIXELS


def test_probe_image_reads_the_header_only(tmp_path):
    quarters().save(tmp_path / "cut.png")
    assert probe_image(cut_off(tmp_path / "cut.png", 0.6)) == ImageInfo(96, 64, "PNG")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "tiff", "bmp"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7])
def test_load_image_refuses_what_is_cut_off(tmp_path, suffix, share):
    pixels = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(pixels).save(path)
    with pytest.raises(BadInput) as error:
        load_image(cut_off(path, share))
    one_sentence(error)


@pytest.mark.parametrize("read", [probe_image, load_image])
def test_reading_refuses_a_broken_header(tmp_path, read):
    """Pillow's AVIF decoder has an error class of its own for it."""
    path = tmp_path / "header.avif"
    quarters().save(path)
    path.write_bytes(path.read_bytes().replace(b"av01", b"av99"))
    with pytest.raises(BadInput, match="damaged"):
        read(path)


def test_load_image_refuses_flipped_bits(tmp_path):
    path = tmp_path / "bits.png"
    Image.fromarray(numbered_frames(1)[0]).save(path)
    data = bytearray(path.read_bytes())
    data[60:90] = bytes(30)
    path.write_bytes(data)
    with pytest.raises(BadInput, match="damaged"):
        load_image(path)


def test_fit_longest_side_only_shrinks():
    assert fit_longest_side(quarters(96, 64), 48).size == (48, 32)
    assert fit_longest_side(quarters(96, 64), 1024).size == (96, 64)
    assert quarter_names(fit_longest_side(quarters(960, 640), 48)) == UPRIGHT


def test_cover_takes_the_middle():
    wide = Image.new("RGB", (300, 100), "black")
    wide.paste("white", (100, 0, 200, 100))
    square = np.asarray(cover(wide, 50, 50))
    assert square.shape == (50, 50, 3)
    assert square.min() > 200


def test_cover_scales_up():
    assert cover(quarters(32, 32), 128, 64).size == (128, 64)


@pytest.mark.parametrize("picture", [quarters(1024, 512), np.asarray(quarters(1024, 512))])
def test_small_jpeg_shrinks_for_a_preview(picture):
    preview = Image.open(io.BytesIO(small_jpeg(picture)))
    assert (preview.format, preview.size) == ("JPEG", (256, 128))
    assert quarter_names(preview) == UPRIGHT
