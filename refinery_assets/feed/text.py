"""From the bytes on the disk to UTF-8 text: unpacked and transcoded as the contract declares.

Here: gzip, Zstandard and the encodings. Line ends stay where they are, so a line has the same number in the text as in
the file. All is done piece by piece, so that a line is in memory twice at the most. Not here: reading files
(`files.py`), and Parquet, which is no text (`rows/parquet.py`).
"""

from __future__ import annotations

import codecs
import io
import zlib
from collections.abc import Iterable, Iterator

from refinery_assets.contract.families import Encoding, Lines
from refinery_assets.feed.files import CutShortError, FeedFile, RefusedFileError

_AT_ONCE = 2**20
# zlib's way to say: with the header and the checksum of gzip.
_GZIP = 16 + zlib.MAX_WBITS
_ORDER_MARKS = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def text_of(raw: bytes, file: FeedFile) -> bytes:
    """The text of a file in UTF-8, without a byte order mark.

    Args:
        raw: The bytes on the disk.
        file: Where they are from.

    Raises:
        CutShortError: The compressed data ends too early.
        RefusedFileError: The data cannot be unpacked, or is more than the contract's `max_mib`.
    """
    unpack = _UNPACKERS.get(file.suffix)
    if unpack is not None:
        try:
            raw = _joined(unpack(raw), file.family.max_mib * 2**20)
        except EOFError:
            raise CutShortError(file.name, "ends in the middle of its compressed data") from None
        except OverflowError:
            raise RefusedFileError(
                f"{file.name} holds more than {file.family.max_mib} MiB, unpacked; look at what it is, or set max_mib "
                "in the contract to more."
            ) from None
        except ValueError as error:
            raise RefusedFileError(f"{file.name} cannot be unpacked ({error}); export it again.") from None
    return transcoded(raw, file.family)


def transcoded(raw: bytes, lines: Lines) -> bytes:
    """Text in the declared encoding as UTF-8, without a byte order mark.

    What is no text in that encoding becomes bytes that are not UTF-8, so that the lines that hold it are found.
    """
    if lines.encoding is Encoding.UTF16:
        return _joined(_from_utf_16(raw))
    if lines.encoding is Encoding.LATIN1:
        return raw if raw.isascii() else _joined(piece.decode("latin-1").encode() for piece in _pieces(raw))
    return raw.removeprefix(codecs.BOM_UTF8)


def _from_utf_16(raw: bytes) -> Iterator[bytes]:
    # Without a mark the header tells: its first letter has a zero byte before or behind it.
    order = _ORDER_MARKS.get(raw[:2], "utf-16-be" if raw[:1] == b"\0" else "utf-16-le")
    decoder = codecs.getincrementaldecoder(order)("surrogatepass")
    for piece in _pieces(raw, start=2 if raw[:2] in _ORDER_MARKS else 0):
        yield decoder.decode(piece).encode("utf-8", "surrogatepass")
    if decoder.getstate()[0]:
        yield b"\xff"


def _pieces(raw: bytes, start: int = 0) -> Iterator[bytes]:
    return (raw[at : at + _AT_ONCE] for at in range(start, len(raw), _AT_ONCE))


def _joined(pieces: Iterable[bytes], most: int | None = None) -> bytes:
    """The pieces in one; OverflowError where they are more than `most` bytes."""
    # Joining a list of pieces would hold all of them twice.
    whole = io.BytesIO()
    for piece in pieces:
        whole.write(piece)
        if most is not None and whole.tell() > most:
            raise OverflowError
    return whole.getvalue()


def _gunzipped(raw: bytes) -> Iterator[bytes]:
    """What is packed; EOFError where it ends too early, ValueError where it is no gzip."""
    member = zlib.decompressobj(_GZIP)
    for packed in _pieces(raw):
        rest = packed
        while rest:
            if member.eof:
                # Several members may follow each other, and zero bytes may fill up the end.
                rest = rest.lstrip(b"\0")
                if not rest:
                    break
                member = zlib.decompressobj(_GZIP)
            try:
                piece = member.decompress(rest, _AT_ONCE)
                while len(piece) == _AT_ONCE and not member.unconsumed_tail and not member.eof:
                    yield piece
                    piece = member.decompress(b"", _AT_ONCE)
            except zlib.error as error:
                raise ValueError(f"gzip: {error}") from None
            yield piece
            rest = member.unused_data if member.eof else member.unconsumed_tail
    if raw and not member.eof:
        raise EOFError


def _unpacked_zstandard(raw: bytes) -> Iterator[bytes]:
    """The same for Zstandard."""
    # Takes a quarter of a second to load, and few feeds need it.
    import pyarrow as pa  # noqa: PLC0415

    try:
        with pa.input_stream(pa.BufferReader(raw), compression="zstd") as stream:
            while piece := stream.read(_AT_ONCE):
                yield piece
    except OSError as error:
        if "Truncated" in str(error):
            raise EOFError from None
        raise ValueError(error) from None


_UNPACKERS = {".gz": _gunzipped, ".zst": _unpacked_zstandard}
