"""Arguments that `liverseg serve` refuses before anything starts."""

from collections.abc import Callable
from typing import Any

import pytest

from custom_networks.arguments import fire_arguments
from custom_networks.commands.serve import serve

Liverseg = Callable[..., Any]
DIRS = ("--output=out", "--spool=spool")


def test_a_flag_may_be_repeated_for_several_values() -> None:
    given = ["--allow", "A@h", "--output=o", "--allow=B@h", "--port", "104", "--send-tls"]
    assert fire_arguments(serve, given) == ["--output='o'", "--port=104", "--send_tls=True", "--allow=('A@h', 'B@h')"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((), "liverseg serve needs --output DIR and --spool DIR, and takes no input."),
        (("--output=out",), "liverseg serve needs --output DIR and --spool DIR, and takes no input."),
        (("scan", *DIRS), "liverseg serve needs --output DIR and --spool DIR, and takes no input."),
        ((*DIRS, "--host=0.0.0.0"), "list the allowed senders with --allow AET@HOST"),
        ((*DIRS, "--send-to=PACS"), "--send-to must be AET@HOST:PORT, such as PACS@10.1.2.3:104, got 'PACS'."),
        ((*DIRS, "--aet=a\\b"), "An AE title must have 1 to 16 ASCII characters and no backslash, got "),
        ((*DIRS, "--rules=none.json"), "none.json cannot be used"),
        ((*DIRS, "--port=70000"), "--port must be from 0 to 65535, got 70000"),
        ((*DIRS, "--tls-cert=cert.pem"), "TLS needs three files"),
    ],
)
def test_wrong_usage_of_serve_is_refused_in_one_line(
    arguments: tuple[str, ...], message: str, liverseg: Liverseg
) -> None:
    answer = liverseg("serve", *arguments)
    assert answer.code == 2
    assert message in answer.err.splitlines()[-1]


def test_a_missing_library_is_named(liverseg: Liverseg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custom_networks.commands.serve.find_spec", lambda name: None)
    answer = liverseg("serve", *DIRS)
    assert answer.code == 2
    assert "liverseg serve needs pynetdicom and highdicom: in a checkout, run pip install" in answer.err
