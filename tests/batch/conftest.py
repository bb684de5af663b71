"""Cases made of text instead of images."""

from collections.abc import Callable
from pathlib import Path

import pytest
from text_cases import TextCase, write_texts

from custom_networks.io import Case


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Case]]:
    """A function that writes texts, given by name, to tmp_path / "in" and returns their cases."""
    monkeypatch.setattr("custom_networks.batch.run.write", write_texts)

    def cases(**texts: str) -> list[Case]:
        (tmp_path / "in").mkdir(exist_ok=True)
        paths = {name: tmp_path / "in" / f"{name}.nii.gz" for name in texts}
        for name, text in texts.items():
            paths[name].write_text(text)
        return [TextCase(name, str(path)) for name, path in paths.items()]

    return cases
