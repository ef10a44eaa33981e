"""What a file is by its first bytes, where its suffix says otherwise."""

# place, bytes there -> what it is, and what helps
_MARKS = (
    (
        0,
        b"version https://git-lfs",
        "a pointer of Git LFS: fetch it with `git lfs pull`",
    ),
    (0, b"<svg", "an SVG drawing: save it as PNG"),
    (8, b"heic", "a HEIC picture: save it as JPEG"),
    (8, b"heix", "a HEIC picture: save it as JPEG"),
    (8, b"mif1", "a HEIF picture: save it as JPEG"),
    (8, b"avif", "an AVIF picture: save it as JPEG"),
    (0, b"8BPS", "a Photoshop document: save it as PNG"),
    (0, b"II+\0", "a BigTIFF: save a plain TIFF"),
    (0, b"MM\0+", "a BigTIFF: save a plain TIFF"),
    (4, b"ftyp", "an MP4 (.m4a, .mp4): write it anew as wav or flac"),
    (0, b"\xff\xf1", "an AAC stream: write it anew as wav or flac"),
    (0, b"\xff\xf9", "an AAC stream: write it anew as wav or flac"),
    (0, b"\x1a\x45\xdf\xa3", "a WebM or Matroska file: write it anew as wav or flac"),
    (0, b"\x30\x26\xb2\x75", "a WMA file: write it anew as wav or flac"),
    (0, b"PK\3\4", "a ZIP archive: unpack it"),
    (0, b"\x1f\x8b", "a gzip archive: unpack it"),
    (0, b"%PDF", "a PDF document"),
)


def called(data: bytes) -> str:
    """What a file is that begins with `data`, for a message; "" if it is not known."""
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a page of HTML, as a failed download leaves: fetch it again"
    if start.startswith(b"<?xml") and b"<svg" in start:
        return "an SVG drawing: save it as PNG"
    if data and not any(data):
        return "nothing but zeros, as a broken download leaves: fetch it again"
    for place, mark, what in _MARKS:
        if data.startswith(mark, place):
            return what
    return ""
