"""Read the voxels stored in a file slab by slab, with strict checks of length and checksums."""

import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from custom_networks.errors import InputError, one_line
from custom_networks.io.files import regular_file
from custom_networks.io.limits import check_decoded, check_voxels
from custom_networks.io.volume import slab_slices

BLOCK = 1 << 20
SPACES = bytes.maketrans(b",\t\r\n\v\f", b"      ")
LONGEST_NUMBER = 100


class Stream(Protocol):
    """A readable stream of decoded bytes."""

    def read(self, size: int, /) -> bytes:
        """Return the next `size` bytes, fewer at the end."""
        ...


@dataclass(frozen=True)
class StoredVoxels:
    """Location and encoding of the voxels of an image.

    Attributes:
        source: the file given by the user.
        files: the files with voxels, in order, each with the same number of slices.
        shape: sizes along (i, j, k); the first index varies fastest in the file.
        dtype: type of a stored voxel, including its byte order.
        encoding: a key of `DECODERS`.
        offset: offset of the encoded data in each file; negative if the data end with the file.
        skip: decoded bytes before the first voxel.
    """

    source: Path
    files: tuple[Path, ...]
    shape: tuple[int, int, int]
    dtype: np.dtype
    encoding: str = "raw"
    offset: int = 0
    skip: int = 0

    def slabs(self, allow_large: bool = False) -> Iterator[np.ndarray]:
        """Yield the voxels (i, j, n), a few slices at a time.

        Raises:
            InputError: a memory limit is exceeded, a file contains fewer or more voxels than its header declares, or
                compressed data do not match their checksum.
        """
        check_voxels(self.shape, self.source, allow_large)
        for file in self.files:
            self._check_length(file, allow_large)
        for file in self.files:
            try:
                yield from self._slabs_of(file)
            except (OSError, EOFError, ValueError, zlib.error) as error:
                raise InputError(
                    f"{self.source} is damaged or incomplete and cannot be read to its end ({one_line(error)}): copy "
                    "it again."
                ) from error

    @property
    def _decoded_bytes(self) -> int:
        """Number of bytes of each file after decoding, including those to skip."""
        return self.skip + prod(self.shape) * self.dtype.itemsize // len(self.files)

    def _check_length(self, file: Path, allow_large: bool) -> None:
        """Compare a file's length with the size declared by the header, before anything is allocated.

        The unpacked size of compressed data is only compared with the limits; text and hex are not checked here.

        Raises:
            InputError: the file is longer or shorter than declared, or would unpack to too much.
        """
        stored = regular_file(file).stat().st_size - max(self.offset, 0)
        needed = self._decoded_bytes
        if self.encoding in ("gzip", "zlib"):
            check_decoded(needed, stored, self.source, allow_large)
        elif self.encoding == "raw" and (stored < needed or (stored > needed and self.offset >= 0)):
            raise self.incomplete(stored, needed)

    def incomplete(self, found: int, declared: int) -> InputError:
        """Return the error for a file that is longer or shorter than its header declares."""
        return InputError(
            f"{self.source} is damaged or incomplete (its header declares {declared:,} bytes of voxels, but the file "
            f"has {max(found, 0):,}): copy it again."
        )

    def _slabs_of(self, file: Path) -> Iterator[np.ndarray]:
        rows, columns, slices = *self.shape[:2], self.shape[2] // len(self.files)
        with file.open("rb") as opened:
            opened.seek(self.offset if self.offset >= 0 else file.stat().st_size - self._decoded_bytes)
            stream = DECODERS[self.encoding](opened, self.dtype)
            _skip(stream, self.skip)
            step = slab_slices(rows * columns * self.dtype.itemsize)
            for start in range(0, slices, step):
                shape = (rows, columns, min(step, slices - start))
                content = _exactly(stream, prod(shape) * self.dtype.itemsize)
                yield np.frombuffer(content, self.dtype).reshape(shape, order="F")
            if stream.read(1):  # reading past the end also verifies the checksum of compressed data
                raise ValueError("it holds more than its header declares")


class _ZlibStream:
    """Decodes a zlib or gzip stream, which must end with its file; zlib verifies the checksum."""

    def __init__(self, stream: BinaryIO, dtype: np.dtype) -> None:
        self._stream, self._inflate = stream, zlib.decompressobj(32 + zlib.MAX_WBITS)

    def read(self, size: int, /) -> bytes:
        parts: list[bytes] = []
        while size > 0 and not self._inflate.eof:
            fed = self._inflate.unconsumed_tail or self._stream.read(BLOCK)
            parts.append(self._inflate.decompress(fed, size))
            size -= len(parts[-1])
            if not fed and not parts[-1]:
                raise EOFError("the compressed data end too early")
        if self._inflate.eof and (self._inflate.unused_data or self._stream.read(1)):
            raise ValueError("something follows the compressed data")
        return b"".join(parts)


class _TextStream:
    """Decodes numbers written as text, separated by white space or commas, to voxel bytes."""

    def __init__(self, stream: BinaryIO, dtype: np.dtype) -> None:
        self._stream, self._dtype = stream, dtype
        self._text = self._ready = b""

    def read(self, size: int, /) -> bytes:
        while len(self._ready) < size and (block := self._stream.read(BLOCK)):
            whole, _, self._text = (self._text + block.translate(SPACES)).rpartition(b" ")
            if len(self._text) > LONGEST_NUMBER:
                raise ValueError("its text does not hold numbers")
            self._ready += self._voxels(whole)
        if len(self._ready) < size and self._text:
            self._ready, self._text = self._ready + self._voxels(self._text), b""
        taken, self._ready = self._ready[:size], self._ready[size:]
        return taken

    def _voxels(self, text: bytes) -> bytes:
        numbers = np.array(text.decode("ascii").split(), np.float64)
        if self._dtype.kind in "iu" and not np.array_equal(numbers, numbers.astype(self._dtype)):
            raise ValueError(f"its text holds values that are not {self._dtype.name}")
        return numbers.astype(self._dtype).tobytes()


class _HexStream:
    """Decodes bytes written as pairs of hexadecimal digits."""

    def __init__(self, stream: BinaryIO, dtype: np.dtype) -> None:
        self._stream = stream

    def read(self, size: int, /) -> bytes:
        digits = b""
        while len(digits) < 2 * size and (block := self._stream.read(2 * size - len(digits))):
            digits += b"".join(block.split())
        return bytes.fromhex(digits.decode("ascii"))


DECODERS: dict[str, Callable[[BinaryIO, np.dtype], Stream]] = {
    "raw": lambda stream, dtype: stream,
    "gzip": lambda stream, dtype: gzip.GzipFile(fileobj=stream, mode="rb"),
    "zlib": _ZlibStream,
    "text": _TextStream,
    "hex": _HexStream,
}


def _skip(stream: Stream, size: int) -> None:
    """Skip `size` bytes of a stream; raises EOFError if there are fewer."""
    while size > 0:
        size -= len(_exactly(stream, min(size, BLOCK)))


def _exactly(stream: Stream, size: int) -> bytes:
    """Return the next `size` bytes; raises EOFError if there are fewer."""
    content = stream.read(size)
    if len(content) < size:
        raise EOFError(f"{size - len(content):,} bytes of voxels are missing")
    return content
