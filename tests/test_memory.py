"""Freed memory stays with the process: a large block costs page faults once, not every time."""

import os
import pathlib
import platform
import subprocess
import sys

import pytest

FAULTS = """
import ctypes, resource, threading
from dino_jax.memory import keep_freed_memory
print(keep_freed_memory())
c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
c.free.argtypes = [ctypes.c_void_p]
def touch():
    block = c.malloc(96 << 20)
    ctypes.memset(block, 1, 96 << 20)
    c.free(block)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=touch)
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


def run(**extra: str) -> tuple[bool, int]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS],
        env=env | extra,
        capture_output=True,
        text=True,
        check=True,
    )
    agreed, faults = done.stdout.split()
    return agreed == "True", int(faults)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_a_large_block_is_reused_by_every_thread() -> None:
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("not glibc")
    agreed, faults = run()
    assert agreed
    assert faults < 2000  # 96 MiB are 24,576 pages


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_the_environment_has_the_last_word() -> None:
    agreed, faults = run(MALLOC_ARENA_MAX="4")
    assert not agreed
    assert faults > 20000 or os.sysconf("SC_PAGE_SIZE") != 4096


HUGE = """
import pathlib
from dino_jax.memory import keep_freed_memory
keep_freed_memory()
import ctypes
c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
block = c.malloc(96 << 20)
def resident():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096
before = resident()
ctypes.memset(block, 1, 96 << 20)
lines = pathlib.Path("/proc/self/smaps").read_text().splitlines()
print(before, sum(int(l.split()[1]) for l in lines if l.startswith("AnonHugePages")))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_the_heap_is_of_huge_pages_where_the_kernel_has_them_and_costs_nothing_before() -> None:
    switch = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not switch.exists() or "[never]" in switch.read_text():
        pytest.skip("no huge pages here")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    done = subprocess.run(
        [sys.executable, "-c", HUGE], env=env, capture_output=True, text=True, check=True
    )
    before, huge_kib = map(int, done.stdout.split())
    assert before < 200 << 20
    assert huge_kib > 80 << 10
