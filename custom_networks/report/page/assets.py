"""The page's own files, NiiVue, and the policy that keeps a page from loading or running anything else."""

import base64
import json
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NIIVUE = HERE / "niivue"  # vendored: version, licence and hash lie beside it; `make niivue` fetches it


@cache
def asset(name: str) -> str:
    """A stylesheet or script of the page."""
    return (HERE / "static" / name).read_text(encoding="utf-8")


@cache
def niivue() -> dict[str, str]:
    """Version and code of the vendored NiiVue."""
    about = json.loads((NIIVUE / "niivue.json").read_text(encoding="utf-8"))
    code = (NIIVUE / about["file"]).read_text(encoding="utf-8")
    return {"version": about["version"], "code": code}


@cache
def template(name: str) -> Any:
    """A Jinja template; everything passed to it is escaped, except the page's own style and scripts."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(name)


def policy(styles: Sequence[str], scripts: Sequence[str], pictures: str = "data: blob:") -> str:
    """A content security policy: these styles and scripts alone, pictures within the page, and no request outside."""
    return (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; img-src {pictures}; connect-src data: blob:; "
        f"worker-src blob:; style-src {_hashes(styles)}; script-src {_hashes(scripts)}"
    )


def _hashes(texts: Sequence[str]) -> str:
    """What a policy calls texts that it lets run, or that nothing may."""
    digests = (base64.b64encode(sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
