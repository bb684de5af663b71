"""Write the packed bundle: a reproducible zip archive that is checked before it gets its final name."""

import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from custom_networks.bundle_files import INSTALLED_NAME, bundle_root
from custom_networks.errors import BundleError, UsageError
from custom_networks.files import atomic_write
from custom_networks.packing.contents import PACKAGE, bundle_contents, without_large_files

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip archive can store
_UNIX, _REGULAR_FILE_644 = 3, 0o100644 << 16


@dataclass(frozen=True)
class PackedBundle:
    """An archive that `pack_bundle` has written.

    Attributes:
        path: path of the archive.
        files: paths within the bundle, in the order of the archive.
        size: size of the archive, bytes.
        sha256: digest of the archive.
        left_out: size in bytes of each file that was left out.
    """

    path: Path
    files: tuple[str, ...]
    size: int
    sha256: str
    left_out: dict[str, int]


def pack_bundle(output: str | Path, weights_url: str | None = None) -> PackedBundle:
    """Pack this package's bundle and the code that its configs need into a zip archive with one folder.

    The folder is `liver_tumor_ct_25d`. The archive is checked before it is written: it is unpacked, and a separate
    process imports every packed module, looks up all code that the configs name, and loads the weights into the
    network.

    With `weights_url`, files over 1 MiB are left out and listed with this address (see `without_large_files`).

    Raises:
        UsageError: `output` or `weights_url` cannot be used.
        BundleError: the bundle is incomplete, or the check fails.
    """
    path = Path(output).expanduser()
    if path.suffix.lower() != ".zip" or path.is_dir():
        raise UsageError(f"The bundle is packed into a zip archive: use a file name that ends in .zip, got {path}.")
    whole = bundle_contents(bundle_root(), Path(__file__).resolve().parents[1])
    packed = without_large_files(whole, weights_url) if weights_url else whole
    archive = zip_archive(packed)
    left_out = {name: content for name, content in whole.items() if name not in packed}
    _check(archive, left_out)
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(archive)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written ({error.strerror or error}): check permissions and free space, or choose "
            "another folder."
        ) from error
    sizes = {name: len(content) for name, content in left_out.items()}
    return PackedBundle(path, tuple(packed), len(archive), hashlib.sha256(archive).hexdigest(), sizes)


def zip_archive(contents: Mapping[str, bytes]) -> bytes:
    """A zip archive with all files in one top-level folder; its bytes depend only on their names and contents.

    Entries are sorted and have a fixed time and mode. They are not compressed, because versions of zlib compress
    differently and weights hardly shrink.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(f"{INSTALLED_NAME}/{name}", _EPOCH)
            entry.create_system, entry.external_attr = _UNIX, _REGULAR_FILE_644
            archive.writestr(entry, contents[name])
    return buffer.getvalue()


def _check(archive: bytes, left_out: Mapping[str, bytes]) -> None:
    """Unpack the archive, add the files that are left out, and check the bundle in a separate process.

    Raises:
        BundleError: the check fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(io.BytesIO(archive)) as packed:
            packed.extractall(folder)
        bundle = Path(folder).resolve() / INSTALLED_NAME
        for name, content in left_out.items():
            (bundle / name).parent.mkdir(parents=True, exist_ok=True)
            (bundle / name).write_bytes(content)
        command = [sys.executable, str(Path(__file__).with_name("check.py")), str(bundle), PACKAGE]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if run.returncode:
        reason = (run.stderr.strip().splitlines() or [f"exit code {run.returncode}"])[-1]
        raise BundleError(f"The packed bundle does not work when it is unpacked ({reason}): nothing was written.")
