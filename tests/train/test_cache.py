"""What is compiled is kept for the next process, and nothing depends on its being there."""

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import jax
import pytest

from dino_jax.train import cache

PROGRAM = """
import json, sys, warnings
from dino_jax.train.cache import keep_compiled
folder = keep_compiled()
import jax, jax.numpy as jnp
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name.split("/")[-1]))
warned = []
warnings.showwarning = lambda message, *_: warned.append(str(message))

@jax.jit
def program(x):
    return jax.lax.fori_loop(0, 9, lambda i, y: jnp.sin(y @ x) + i, x).sum()

value = float(program(jnp.ones((8, 8))))
print(json.dumps([folder and str(folder), value, events.count("cache_hits"),
                  events.count("cache_misses"), warned]))
"""


@pytest.fixture
def setting(tmp_path: pathlib.Path) -> dict[str, str]:
    dropped = (cache.SWITCH, "JAX_COMPILATION_CACHE_DIR")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | {"XDG_CACHE_HOME": str(tmp_path)}


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """This process's own settings are set back."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    for name in (cache.SWITCH, "JAX_COMPILATION_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)


def process(setting: dict[str, str]) -> tuple[str | None, float, int, int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=setting, capture_output=True, text=True, check=True
    )
    assert "machine" not in done.stderr, "XLA says that the code is of another processor"
    return tuple(json.loads(done.stdout))


def test_the_second_process_compiles_nothing_and_damage_is_survived(
    setting: dict[str, str], tmp_path: pathlib.Path
) -> None:
    folder, value, hits, misses, warned = process(setting)
    assert folder is not None
    assert tmp_path in pathlib.Path(folder).parents
    assert (hits, warned) == (0, [])
    assert misses > 0
    assert process(setting) == (folder, value, misses, 0, [])
    entries = [path for path in pathlib.Path(folder).iterdir() if path.name.startswith("jit_prog")]
    (entry,) = entries
    entry.write_bytes(entry.read_bytes()[:100])  # as a process that was killed leaves it
    _, again, hits, missed, warned = process(setting)
    assert (again, hits, missed) == (value, misses - 1, 1)
    assert len(warned) == 1
    assert "jit_program" in warned[0]


def test_it_can_be_turned_off_and_another_folder_named(
    untouched: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cache.SWITCH, "off")
    assert cache.keep_compiled() is None
    monkeypatch.delenv(cache.SWITCH)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(untouched / "own"))
    assert cache.keep_compiled() == untouched / "own"
    assert list(untouched.iterdir()) == []
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    folder = cache.keep_compiled()
    assert folder is not None
    assert folder.is_dir()
    assert jax.config.jax_compilation_cache_dir == str(folder)


def test_a_folder_that_cannot_be_written_is_one_line(
    untouched: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    (untouched / "dino_jax").write_text("a file")
    before = jax.config.jax_compilation_cache_dir
    with caplog.at_level("INFO"):
        assert cache.keep_compiled() is None
    (message,) = caplog.messages
    assert message.startswith("compiled programs are not kept (")
    assert jax.config.jax_compilation_cache_dir == before


def test_a_relative_cache_home_is_no_cache_home(
    untouched: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(untouched / "home"))
    assert untouched / "home" / ".cache" in cache._folder().parents


def test_the_longest_unused_go_first(tmp_path: pathlib.Path) -> None:
    for age, name in enumerate(("new", "middle", "old")):
        (tmp_path / name).write_bytes(bytes(10))
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    (tmp_path / "folder").mkdir()
    cache._prune(tmp_path, 30)
    assert len(list(tmp_path.iterdir())) == 4
    cache._prune(tmp_path, 25)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "middle", "new"]
    cache._prune(tmp_path, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
