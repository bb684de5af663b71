"""The allocator keeps large blocks while layers run, and returns them afterwards."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from custom_networks.inference import memory

BLOCK = 16_384  # pages of 4 KiB in 64 MB; four such blocks are taken

FAULTS = """
import resource
import torch
from custom_networks.inference.memory import keep_freed_memory, manage_this_process, reuse_freed_memory

def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.ones(16 * 2**20)  # 64 MB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() // 2**20
"""


Run = Callable[[str], list[int]]
pytestmark = pytest.mark.skipif(memory._glibc("mallopt") is None, reason="another C library than glibc")


@pytest.fixture
def run(python: Callable[..., Any]) -> Run:
    """Run code in a process with an untuned allocator; return the numbers that it prints."""

    def printed(code: str) -> list[int]:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        done = python("-c", FAULTS + code, env=environment)
        assert done.returncode == 0, done.stderr
        return [int(word) for word in done.stdout.split()]

    return printed


def test_every_block_needs_fresh_pages_by_default(run: Run) -> None:
    assert run("print(page_faults())")[0] > 3 * BLOCK


def test_pages_of_a_freed_block_are_reused_and_returned_at_the_end(run: Run) -> None:
    code = """
manage_this_process()
with reuse_freed_memory():
    torch.ones(16 * 2**20)
    print(page_faults(), resident_mb())
print(resident_mb())
"""
    within, large, small = run(code)
    assert within < 1.5 * BLOCK
    assert small <= large - 60


def test_the_allocator_of_other_programs_is_not_changed(run: Run) -> None:
    code = """
with reuse_freed_memory():
    torch.ones(16 * 2**20)
    print(page_faults())
"""
    assert run(code)[0] > 3 * BLOCK


def test_in_training_freed_memory_is_also_kept_after_inference(run: Run) -> None:
    code = """
keep_freed_memory()
manage_this_process()
with reuse_freed_memory():
    torch.ones(16 * 2**20)
print(page_faults())
"""
    assert run(code)[0] < 2 * BLOCK
