"""The allocator's thresholds: large blocks stay with the process while layers run, and go back afterwards."""

import subprocess
import sys

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


def _run(code: str) -> list[int]:
    done = subprocess.run([sys.executable, "-c", FAULTS + code], capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


pytestmark = pytest.mark.skipif(memory._glibc("mallopt") is None, reason="another C library than glibc")


def test_every_block_needs_fresh_pages_by_default() -> None:
    assert _run("print(page_faults())")[0] > 3 * BLOCK


def test_pages_of_a_freed_block_are_used_again_and_given_back_at_the_end() -> None:
    code = """
manage_this_process()
with reuse_freed_memory():
    torch.ones(16 * 2**20)
    print(page_faults(), resident_mb())
print(resident_mb())
"""
    within, large, small = _run(code)
    assert within < 1.5 * BLOCK
    assert small <= large - 60


def test_the_allocator_of_other_programs_is_not_changed() -> None:
    code = """
with reuse_freed_memory():
    torch.ones(16 * 2**20)
    print(page_faults())
"""
    assert _run(code)[0] > 3 * BLOCK


def test_a_process_that_keeps_its_memory_keeps_it_after_inference_too() -> None:
    code = """
keep_freed_memory()
manage_this_process()
with reuse_freed_memory():
    torch.ones(16 * 2**20)
print(page_faults())
"""
    assert _run(code)[0] < 2 * BLOCK
