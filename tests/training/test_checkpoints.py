"""Weights on disk are either the earlier or the new ones, never partial."""

from pathlib import Path
from typing import IO, Any

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from custom_networks.training import BestModelSaver, FinalModelSaver
from custom_networks.training.checkpoints import save_whole


def network(weight: float) -> nn.Module:
    """A network with one weight."""
    made = nn.Linear(1, 1, bias=False)
    nn.init.constant_(made.weight, weight)
    return made


def weight_in(path: Path) -> float:
    return float(torch.load(path, weights_only=True)["weight"])


def ended(saver: BestModelSaver | FinalModelSaver, score: float = 0.0) -> None:
    """An engine that has run one epoch, with a score as its key metric."""
    engine = Engine(lambda engine, batch: None)
    engine.state.key_metric_name, engine.state.metrics = "dice", {"dice": score}  # type: ignore[attr-defined]
    saver.attach(engine)
    engine.run([0], max_epochs=1)


def kill_while_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `torch.save` write a few bytes and then kill the process with a signal."""

    def save(state: Any, stream: IO[bytes]) -> None:
        stream.write(b"PK")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", save)


def test_equal_weights_have_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.pt", "b.pt"):
        save_whole({"weight": torch.ones(3)}, tmp_path / name)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_only_better_weights_replace_the_best_ones(tmp_path: Path) -> None:
    model = network(1)
    saver = BestModelSaver(str(tmp_path / "new"), {"model": model})
    for weight, score in ((1, 0.5), (2, 0.7), (3, 0.6), (4, 0.7)):
        nn.init.constant_(model.weight, weight)  # type: ignore[arg-type]
        ended(saver, score)
    assert weight_in(tmp_path / "new" / "model.pt") == 2
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model.pt"]


def test_final_weights_are_those_at_the_end_of_the_latest_run(tmp_path: Path) -> None:
    model = network(1)
    saver = FinalModelSaver(str(tmp_path), model)
    ended(saver)
    nn.init.constant_(model.weight, 2)  # type: ignore[arg-type]
    ended(saver)
    assert weight_in(tmp_path / "model_final.pt") == 2


def test_final_weights_may_have_several_names(tmp_path: Path) -> None:
    ended(FinalModelSaver(str(tmp_path), network(3), ["model_final.pt", "model.pt"]))
    assert weight_in(tmp_path / "model_final.pt") == weight_in(tmp_path / "model.pt") == 3


def test_a_run_killed_while_writing_better_weights_keeps_the_earlier_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = BestModelSaver(str(tmp_path), {"model": network(1)})
    ended(before, 0.5)
    after = BestModelSaver(str(tmp_path), {"model": network(2)})
    after.load_state_dict(before.state_dict())
    kill_while_writing(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        ended(after, 0.6)
    assert weight_in(tmp_path / "model.pt") == 1


def test_a_run_killed_while_writing_final_weights_keeps_the_earlier_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(FinalModelSaver(str(tmp_path), network(1)))
    kill_while_writing(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        ended(FinalModelSaver(str(tmp_path), network(2)))
    assert weight_in(tmp_path / "model_final.pt") == 1


def test_a_failed_run_writes_no_final_weights(tmp_path: Path) -> None:
    def fail(engine: Engine, batch: int) -> None:
        raise ValueError("diverged")

    engine = Engine(fail)
    FinalModelSaver(str(tmp_path), network(1)).attach(engine)
    with pytest.raises(ValueError, match="diverged"):
        engine.run([0])
    assert list(tmp_path.iterdir()) == []
