"""Templates, styles and scripts of the pages, and their content security policy."""

import base64
import json
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NIIVUE = HERE / "niivue"  # vendored with its version, licence and hash; `make niivue` updates it


@cache
def asset(name: str) -> str:
    """Return the text of the stylesheet or script with this file name."""
    return (HERE / "static" / name).read_text(encoding="utf-8")


@cache
def niivue() -> dict[str, str]:
    """Return `version` and `code` of the vendored NiiVue."""
    about = json.loads((NIIVUE / "niivue.json").read_text(encoding="utf-8"))
    code = (NIIVUE / about["file"]).read_text(encoding="utf-8")
    return {"version": about["version"], "code": code}


@cache
def template(name: str) -> Any:
    """Return the Jinja template with this file name; it escapes all values except those that it marks as safe."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(name)


def policy(styles: Sequence[str], scripts: Sequence[str], pictures: str = "data: blob:") -> str:
    """Return a content security policy that allows only these styles and scripts, and no network requests.

    `pictures` are the allowed sources of images, by default those embedded in the page.
    """
    return (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; img-src {pictures}; connect-src data: blob:; "
        f"worker-src blob:; style-src {_hashes(styles)}; script-src {_hashes(scripts)}"
    )


def _hashes(texts: Sequence[str]) -> str:
    """Return a policy's source list that allows inline texts: their hashes, or 'none' if there are no texts."""
    digests = (base64.b64encode(sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
