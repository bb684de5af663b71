"""Peers that may send, and destinations."""

import ssl
from pathlib import Path

import pytest

from custom_networks.errors import UsageError
from custom_networks.node.peers import (
    Certificates,
    allowed_on,
    caller,
    certificates,
    checked_title,
    destination,
    may_call,
)
from custom_networks.node.settings import Settings


def test_a_destination_is_read_from_aet_host_and_port() -> None:
    found = destination("PACS@pacs.example.org:104")
    assert (found.aet, found.host, found.port, str(found)) == (
        "PACS",
        "pacs.example.org",
        104,
        "PACS@pacs.example.org:104",
    )
    assert destination("MY PACS@[::1]:11112").host == "::1"


@pytest.mark.parametrize("text", ["", "PACS", "PACS@host", "PACS@host:0", "PACS@host:65536", "@host:104", "PACS@:104"])
def test_an_invalid_destination_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        destination(text)


@pytest.mark.parametrize("title", ["", " A", "A ", "A\\B", "A" * 17, "\u00c4", "A\n"])
def test_an_invalid_ae_title_is_refused(title: str) -> None:
    with pytest.raises(UsageError, match="1 to 16"):
        checked_title(title)


@pytest.mark.parametrize(
    "given, aet, address, allowed",
    [
        ("CT1@10.1.2.3", "CT1", "10.1.2.3", True),
        ("CT1@10.1.2.3", "CT1", "::ffff:10.1.2.3", True),
        ("CT1@10.1.2.3", "CT1", "10.1.2.4", False),
        ("CT1@10.1.2.3", "CT2", "10.1.2.3", False),
        ("CT1@10.1.2.0/24", "CT1", "10.1.2.4", True),
        ("CT1@10.1.2.0/24", "CT1", "10.1.3.4", False),
        ("*@10.1.2.3", "anything", "10.1.2.3", True),
        ("CT1@localhost", "CT1", "127.0.0.1", True),
        ("CT1@fd00::/8", "CT1", "fd00::7%eth0", True),
    ],
)
def test_a_caller_is_allowed_by_title_and_address(given: str, aet: str, address: str, allowed: bool) -> None:
    assert may_call([caller("OTHER@192.0.2.1"), caller(given)], aet, address) is allowed


@pytest.mark.parametrize(
    "text", ["CT1", "CT1@", "CT1@10.1.2.3/24", "CT1@no such host", "@10.1.2.3", "CT1@999.1.1.1.invalid"]
)
def test_an_invalid_allow_list_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        caller(text)


def test_an_allow_list_is_required_beyond_loopback() -> None:
    assert may_call(allowed_on("127.0.0.1", ()), "ANY", "127.0.0.1")
    assert not may_call(allowed_on("127.0.0.1", ()), "ANY", "10.0.0.1")
    with pytest.raises(UsageError, match="--allow AET@HOST"):
        allowed_on("0.0.0.0", ())


def test_tls_needs_three_files(tmp_path: Path) -> None:
    assert certificates(None, None, None) is None
    with pytest.raises(UsageError, match="three files"):
        certificates("cert.pem", "key.pem", None)
    files = certificates(str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "c"))
    assert files is not None
    with pytest.raises(UsageError, match="check the files given as --tls-cert"):
        files.context(serving=True)


@pytest.mark.parametrize("serving", [True, False])
def test_both_sides_of_tls_must_show_a_certificate(
    serving: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for loading in ("load_cert_chain", "load_verify_locations"):
        monkeypatch.setattr(ssl.SSLContext, loading, lambda *_: None)
    context = Certificates(tmp_path / "own", tmp_path / "key", tmp_path / "authority").context(serving=serving)
    assert context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname is not serving
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("wrong", [{"port": -1}, {"port": 70000}, {"quiet_seconds": -1}, {"send_tls": True}])
def test_impossible_settings_are_refused(wrong: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Settings(tmp_path, tmp_path, **wrong)  # type: ignore[arg-type]
