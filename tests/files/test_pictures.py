"""Opening and saving pictures: what survives, what is refused, and that no file is lost."""

import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from pentimento.errors import PictureError
from pentimento.files.metadata import jpeg_segment, png_chunk
from pentimento.files.pictures import Limits, open_picture, same_content, save_picture, turned
from pentimento.structures import Picture

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
CHANNELS = {"grey": 1, "rgb": 3, "cmyk": 4}


def noise(mode="rgb", dtype=np.uint8, alpha=False, size=(13, 21), **more):
    rng = np.random.default_rng(5)
    top = np.iinfo(dtype).max + 1
    return Picture(
        rng.integers(0, top, (*size, CHANNELS[mode])).astype(dtype),
        mode,
        rng.integers(0, top, size).astype(dtype) if alpha else None,
        **more,
    )


def as_file(image, file_format, **options):
    out = BytesIO()
    image.save(out, file_format, **options)
    return out.getvalue()


def smooth_rgb(height=48, width=64):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], -1).astype(np.uint8)


HELD = [
    ("png", "grey", np.uint8, False), ("png", "grey", np.uint8, True),
    ("png", "grey", np.uint16, False), ("png", "grey", np.uint16, True),
    ("png", "rgb", np.uint8, False), ("png", "rgb", np.uint8, True),
    ("png", "rgb", np.uint16, False), ("png", "rgb", np.uint16, True),
    ("tif", "grey", np.uint8, False), ("tif", "grey", np.uint8, True),
    ("tif", "grey", np.uint16, False), ("tif", "cmyk", np.uint8, False),
    ("tif", "rgb", np.uint8, False), ("tif", "rgb", np.uint8, True),
    ("tif", "rgb", np.uint16, False), ("tif", "rgb", np.uint16, True),
    ("webp", "rgb", np.uint8, False), ("webp", "rgb", np.uint8, True),
]  # fmt: skip


@pytest.mark.parametrize(("ending", "mode", "dtype", "alpha"), HELD)
def test_lossless_formats_keep_everything(tmp_path, ending, mode, dtype, alpha):
    exif = Image.Exif()
    exif[315] = "An Artist"
    exif.get_ifd(34665)[33434] = 0.125  # exposure time
    picture = noise(mode, dtype, alpha, icc=ICC, dpi=(300.0, 240.0), exif=exif.tobytes())
    assert save_picture(picture, tmp_path / f"a.{ending}") == "encoded"
    again = open_picture(tmp_path / f"a.{ending}")
    assert same_content(again, picture)
    assert again.dpi == picture.dpi
    assert again.format == {"png": "PNG", "tif": "TIFF", "webp": "WEBP"}[ending]
    kept = Image.Exif()
    kept.load(again.exif)
    assert kept[315] == "An Artist"
    assert kept.get_ifd(34665)[33434] == 0.125


@pytest.mark.parametrize("mode", ["grey", "rgb", "cmyk"])
def test_jpeg_keeps_mode_profile_and_resolution(tmp_path, mode):
    picture = noise(mode, icc=ICC, dpi=(300.0, 300.0))
    save_picture(picture, tmp_path / "a.jpg")
    again = open_picture(tmp_path / "a.jpg")
    assert (again.mode, again.icc, again.dpi) == (mode, ICC, (300.0, 300.0))
    assert np.abs(again.pixels.astype(int) - picture.pixels).mean() < 4


@pytest.mark.parametrize(
    ("picture", "ending", "able"),
    [
        (noise(dtype=np.uint16), "jpg", "PNG or TIFF"),
        (noise(alpha=True), "jpg", "PNG or WEBP or TIFF"),
        (noise("cmyk"), "png", "JPEG or TIFF"),
        (noise(dtype=np.uint16), "webp", "PNG or TIFF"),
    ],
)
def test_a_format_that_cannot_hold_the_picture_is_refused(tmp_path, picture, ending, able):
    with pytest.raises(PictureError, match=able):
        save_picture(picture, tmp_path / f"a.{ending}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ["txt", "gif", ""])
def test_an_unknown_ending_is_refused(tmp_path, ending):
    with pytest.raises(PictureError, match=r"\.png"):
        save_picture(noise(), tmp_path / f"a.{ending}")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_applied_once(tmp_path, orientation, file_format):
    upright = smooth_rgb(24, 40)
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.swapaxes(0, 1), 6: np.rot90(upright), 7: np.rot90(upright.swapaxes(0, 1), 2),
        8: np.rot90(upright, -1),
    }  # fmt: skip
    exif = Image.Exif()
    exif[274] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    image = Image.fromarray(np.ascontiguousarray(stored[orientation]))
    data = as_file(image, file_format, exif=exif.tobytes(), **options.get(file_format, {}))
    picture = open_picture(data)
    error = np.abs(picture.pixels.astype(int) - upright).max()
    assert error <= (4 if file_format == "JPEG" else 0)

    # Saved and opened again, with or without the source at hand, it is still upright.
    path = tmp_path / f"a.{file_format.lower()}"
    for source in (None, data):
        save_picture(picture, path, source=source)
        again = open_picture(path)
        assert again.pixels.shape == picture.pixels.shape
        assert np.abs(again.pixels.astype(int) - upright).max() <= (12 if source is None else 4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_deep_tiff_is_applied_once(orientation):
    stored = np.random.default_rng(0).integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    out = BytesIO()
    tifffile.imwrite(out, stored, photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
    assert np.array_equal(open_picture(out.getvalue()).pixels, turned(stored, orientation))


def test_exif_that_a_jpeg_cannot_hold_does_not_stop_saving(tmp_path):
    exif = Image.Exif()
    exif[270] = "long " * 20_000
    picture = noise(exif=exif.tobytes())
    save_picture(picture, tmp_path / "a.jpg")
    assert open_picture(tmp_path / "a.jpg").pixels.shape == picture.pixels.shape


def test_a_turned_jpeg_is_grafted_where_it_lies(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    data = as_file(Image.fromarray(smooth_rgb(70, 90)), "JPEG", exif=exif.tobytes(), quality=90)
    picture = open_picture(data)
    assert picture.pixels.shape == (90, 70, 3)
    pixels = picture.pixels.copy()
    pixels[5:12, 40:50] = 255 - pixels[5:12, 40:50]
    assert save_picture(replace(picture, pixels=pixels), tmp_path / "a.jpg", source=data) == (
        "grafted"
    )
    again = open_picture(tmp_path / "a.jpg").pixels
    assert np.array_equal(again[40:], picture.pixels[40:])
    assert np.array_equal(again[:, :20], picture.pixels[:, :20])
    wanted = pixels[5:12, 40:50].astype(int)
    assert np.abs(again[5:12, 40:50] - wanted).mean() < np.abs(255 - 2 * wanted).mean() / 3


def png16(pixels, colour_type, *chunks):
    height, width = pixels.shape[:2]
    rows = pixels.astype(">u2").reshape(height, -1).view(np.uint8)
    rows = np.hstack([np.zeros((height, 1), np.uint8), rows]).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


@pytest.mark.parametrize(("channels", "colour_type"), [(1, 0), (2, 4), (3, 2), (4, 6)])
def test_deep_png_by_hand(channels, colour_type):
    planes = np.random.default_rng(0).integers(0, 65536, (5, 7, channels), dtype=np.uint16)
    picture = open_picture(png16(planes, colour_type))
    colours = 1 if channels < 3 else 3
    assert np.array_equal(picture.pixels, planes[..., :colours])
    assert (picture.alpha is None) == (channels in (1, 3))
    if picture.alpha is not None:
        assert np.array_equal(picture.alpha, planes[..., -1])


def test_grey_deep_png_with_a_transparent_value():
    planes = np.array([[[7], [300]]], np.uint16)
    picture = open_picture(png16(planes, 0, (b"tRNS", struct.pack(">H", 300))))
    assert picture.alpha.tolist() == [[65535, 0]]


def test_palette_one_bit_and_transparent_palette():
    palette = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    plain = open_picture(as_file(palette, "PNG"))
    assert (plain.mode, plain.alpha) == ("rgb", None)
    assert plain.pixels[0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    clear = open_picture(as_file(palette, "PNG", transparency=b"\xff\x80\x00"))
    assert clear.alpha.tolist() == [[255, 128, 0]]
    assert clear.pixels[0].tolist() == plain.pixels[0].tolist()
    bits = open_picture(as_file(Image.fromarray(np.array([[True, False]])), "PNG"))
    assert (bits.mode, bits.pixels[0, :, 0].tolist()) == ("grey", [255, 0])


def test_one_pixel_picture(tmp_path):
    picture = open_picture(as_file(Image.new("RGB", (1, 1), (3, 4, 5)), "PNG"))
    save_picture(picture, tmp_path / "a.tiff")
    assert open_picture(tmp_path / "a.tiff").pixels.tolist() == [[[3, 4, 5]]]


# ---- position ----------------------------------------------------------------------------------

SECRET = b"SecretPlace"


def exif_with_position():
    exif = Image.Exif()
    exif[271], exif[274] = "Maker", 1
    exif[34665] = {37500: b"note " + SECRET, 36867: "2026:01:02 03:04:05"}
    exif[34853] = {1: "N", 2: (48.0, 51.0, 29.5), 3: "E", 4: (2.0, 17.0, 40.0), 29: "SecretPlace"}
    return exif.tobytes()


XMP = b'<x:xmpmeta><rdf:Description exif:GPSLatitude="48,51N" place="SecretPlace"/></x:xmpmeta>'


def files_with_position():
    image = Image.fromarray(smooth_rgb())
    exif = exif_with_position()
    jpeg = as_file(image, "JPEG", exif=exif, xmp=XMP, icc_profile=ICC, quality=90)
    irb = jpeg_segment(0xED, b"Photoshop 3.0\0" + SECRET)
    trailer = jpeg + SECRET  # a second picture with its own metadata
    png = as_file(image, "PNG", exif=exif, icc_profile=ICC)
    note = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
    raw = png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(SECRET))
    return {
        "jpg": trailer[:2] + irb + trailer[2:],
        "png": png[:33] + note + raw + png[33:],
        "webp": as_file(image, "WEBP", exif=exif, xmp=XMP, lossless=True, icc_profile=ICC),
        "tif": as_file(image, "TIFF", exif=exif, icc_profile=ICC),
    }


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("way", ["copied", "edited", "anew"])
def test_position_is_never_carried_on(tmp_path, ending, way):
    data = files_with_position()[ending]
    picture = open_picture(data)
    assert SECRET not in picture.exif
    changed = picture
    if way == "edited":
        pixels = picture.pixels.copy()
        pixels[:8, :8] = 0
        changed = replace(picture, pixels=pixels)
    path = tmp_path / f"a.{ending}"
    written = save_picture(changed, path, source=None if way == "anew" else data)
    saved = path.read_bytes()
    assert SECRET not in saved
    assert b"GPSLatitude" not in saved
    with Image.open(path) as image:
        exif = image.getexif()
        assert 34853 not in exif
        assert exif[271] == "Maker"
        camera = exif.get_ifd(34665)
        assert camera[36867] == "2026:01:02 03:04:05"
        assert 37500 not in camera
        assert image.info["icc_profile"] == ICC
    if way == "copied":
        assert written == ("encoded" if ending == "tif" else "copied")
        assert same_content(open_picture(path), picture)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_unchanged_picture_is_the_very_file(tmp_path, file_format):
    exif = Image.Exif()
    exif[271] = "Maker"
    data = as_file(Image.fromarray(smooth_rgb()), file_format, exif=exif.tobytes(), dpi=(72, 72))
    path = tmp_path / f"a.{file_format.lower()}"
    assert save_picture(open_picture(data), path, source=data) == "copied"
    assert path.read_bytes() == data


# ---- faults ------------------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_truncated_files_are_named(tmp_path, file_format):
    data = as_file(Image.fromarray(smooth_rgb(100, 100)), file_format)
    for keep in (1, 7, 30, len(data) // 4, len(data) // 2, len(data) * 9 // 10):
        path = tmp_path / "holiday.jpg"
        path.write_bytes(data[:keep])
        with pytest.raises(PictureError, match=r"holiday\.jpg"):
            open_picture(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "0 bytes"),
        (b"GIF89a" + bytes(20), "a GIF"),
        (b"<svg></svg>", "SVG"),
        (b"\0\0\0\x18ftypheic" + bytes(20), "HEIC"),
        (b"not a picture", "no known picture"),
        (b"\xff\xd8\xff\xe0" + bytes(40), "JPEG"),
    ],
)
def test_what_is_no_picture_is_named(tmp_path, content, told):
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=told) as caught:
        open_picture(path)
    assert "x.jpg" in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(PictureError, match=r"gone\.png.*No such file"):
        open_picture(tmp_path / "gone.png")
    with pytest.raises(PictureError, match="is a folder"):
        open_picture(tmp_path)


def test_content_counts_not_the_ending(tmp_path):
    path = tmp_path / "really_png.jpg"
    path.write_bytes(as_file(Image.fromarray(smooth_rgb()), "PNG"))
    assert open_picture(path).format == "PNG"


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF"])
def test_animated_pictures_are_refused(tmp_path, file_format):
    lossless = {"lossless": True} if file_format == "WEBP" else {}
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = as_file(frames[0], file_format, save_all=True, append_images=frames[1:], **lossless)
    with pytest.raises(PictureError, match="2 frames"):
        open_picture(data)
    first = open_picture(data, limits=Limits(frames=2))
    assert first.pixels[0, 0].tolist() == [255, 0, 0]
    path = tmp_path / f"a.{file_format.lower()}"
    assert save_picture(first, path, source=data) == "encoded"
    assert same_content(open_picture(path), first)


def test_a_second_picture_behind_a_jpeg_is_no_animation(tmp_path):
    images = [Image.fromarray(smooth_rgb()), Image.new("RGB", (16, 16))]
    data = as_file(images[0], "MPO", save_all=True, append_images=images[1:])
    picture = open_picture(data)
    assert (picture.format, picture.pixels.shape) == ("JPEG", (48, 64, 3))
    save_picture(picture, tmp_path / "a.jpg", source=data)
    assert same_content(open_picture(tmp_path / "a.jpg"), picture)


def test_limits_hold():
    data = as_file(Image.fromarray(smooth_rgb()), "PNG")
    with pytest.raises(PictureError, match=r"64 × 48 = 3,072 pixels"):
        open_picture(data, limits=Limits(pixels=3071))
    with pytest.raises(PictureError, match="bytes"):
        open_picture(data, limits=Limits(file_bytes=len(data) - 1))
    assert open_picture(data, limits=Limits(pixels=3072, file_bytes=len(data))).width == 64


MEASURED = """
import resource, sys
from pentimento.errors import PictureError
from pentimento.files.pictures import open_picture
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    picture = open_picture(sys.argv[1])
    print("opened", picture.width, picture.height)
except PictureError as error:
    print("refused", error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def opened_in_a_process(path):
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, path], capture_output=True, text=True, check=True
    )
    told, megabytes = done.stdout.splitlines()
    return told, int(megabytes)


@pytest.mark.parametrize("side", [10_200, 30_000])
def test_a_decompression_bomb_is_refused_before_decoding(tmp_path, side):
    rows = zlib.compressobj(9)
    packed = b"".join(rows.compress(bytes(1 + side * 3)) for _ in range(side // 100))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", packed + rows.flush()), (b"IEND", b"")]
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts))
    told, megabytes = opened_in_a_process(path)
    assert told.startswith("refused")
    assert "pixels" in told
    assert megabytes < 200


def test_sixty_megapixels_open_within_memory(tmp_path):
    path = tmp_path / "big.jpg"
    Image.new("RGB", (10_000, 6_000), (90, 120, 150)).save(path, quality=80)
    told, megabytes = opened_in_a_process(path)
    assert told == "opened 10000 6000"
    assert megabytes < 1024


FULL_DISK = """
import resource, sys
import numpy as np
from pentimento.errors import PictureError
from pentimento.files.pictures import save_picture, turned
from pentimento.structures import Picture
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8)
try:
    save_picture(Picture(noise), sys.argv[1])
except PictureError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "mine.png"
    save_picture(noise(), path)
    old = path.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True, check=True
    )
    assert "the file that was there is unchanged" in done.stdout
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["mine.png"]


def test_saving_into_nowhere_is_explained(tmp_path):
    with pytest.raises(PictureError, match="does not exist"):
        save_picture(noise(), tmp_path / "no" / "a.png")
    (tmp_path / "a.png").mkdir()
    with pytest.raises(PictureError, match="is a folder"):
        save_picture(noise(), tmp_path / "a.png")


SEEDS = {
    "jpg": as_file(Image.fromarray(smooth_rgb()), "JPEG", exif=exif_with_position()),
    "progressive": as_file(Image.fromarray(smooth_rgb()), "JPEG", progressive=True),
    "png": as_file(Image.fromarray(smooth_rgb()), "PNG", exif=exif_with_position(), dpi=(72, 72)),
    "webp": as_file(Image.fromarray(smooth_rgb()), "WEBP", exif=exif_with_position()),
    "tif": as_file(Image.fromarray(smooth_rgb()), "TIFF", compression="tiff_lzw"),
    "png16": png16(np.arange(7 * 9 * 3, dtype=np.uint16).reshape(7, 9, 3) * 300, 2),
}


@pytest.mark.parametrize("seed", sorted(SEEDS))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_flipped_bytes_give_a_picture_or_an_error_for_people(tmp_path, seed, data):
    content = bytearray(SEEDS[seed])
    for _ in range(data.draw(st.integers(1, 6))):
        # Headers are where structure lies: half of the flips go there.
        end = data.draw(st.sampled_from([min(200, len(content)), len(content)]))
        content[data.draw(st.integers(0, end - 1))] = data.draw(st.integers(0, 255))
    limits = Limits(pixels=4_000_000)
    try:
        picture = open_picture(bytes(content), limits=limits)
    except PictureError:
        return
    pixels = picture.pixels.copy()
    pixels[0, 0] ^= 255
    path = tmp_path / "a.png"
    if picture.format == "JPEG":
        path = tmp_path / "a.jpg"
    if picture.mode != "cmyk":
        save_picture(replace(picture, pixels=pixels), path, source=bytes(content))
        assert open_picture(path, limits=limits).pixels.shape == pixels.shape
