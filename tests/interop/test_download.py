"""Downloads from a server on this machine that misbehaves in every way we know of."""

import errno
import hashlib
import logging
import os
import pathlib
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.interop.cached import Remote, cache_folder
from dino_jax.interop.download import Patience, fetch
from dino_jax.interop.pth import read_pth, write_pth
from dino_jax.interop.pth.legacy import MAGIC, PROTOCOL
from tests.interop.serving import Served, serving

IMPATIENT = Patience(timeout=5, attempts=3, pause=0.01)
ROOT = pathlib.Path(__file__).parents[2]


def archive(size: int = 300_000) -> bytes:
    """A `.pth` of bytes that repeat nowhere."""
    bare = np.frombuffer(hashlib.shake_128(b"weights").digest(size), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        write_pth(f"{folder}/archive.pth", {"weight": bare.copy()})
        return pathlib.Path(folder, "archive.pth").read_bytes()


def older(size: int = 5000) -> bytes:
    """A `.pth` as torch before 1.6 wrote it: pickles, then the bytes of one storage."""
    pickles = [pickle.dumps(value, 2) for value in (MAGIC, PROTOCOL, {"little_endian": True})]
    state = (
        b"\x80\x02}X\x06\x00\x00\x00weightctorch._utils\n_rebuild_tensor_v2\n("
        b"(X\x07\x00\x00\x00storagectorch\nByteStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
        b"J" + size.to_bytes(4, "little") + b"NtQK\x00J" + size.to_bytes(4, "little") + b"\x85"
        b"K\x01\x85\x89ccollections\nOrderedDict\n)RtRs."
    )
    data = size.to_bytes(8, "little") + hashlib.shake_128(b"older").digest(size)
    return b"".join([*pickles, state, pickle.dumps(["0"], 2), data])


CONTENT = archive()


@pytest.fixture(autouse=True)
def cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A cache of its own; no proxy stands between this machine and itself."""
    monkeypatch.setenv("DINO_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DINO_JAX_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache"


@pytest.fixture
def server() -> Iterator[Served]:
    with serving(CONTENT) as served:
        yield served


def refused(remote: Remote, *, offline: bool = False) -> str:
    """The one line that a download ends in."""
    with pytest.raises(UserError) as caught:
        fetch(remote, offline=offline, patience=IMPATIENT)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_a_file_is_downloaded_once_and_its_checksum_noted(
    server: Served, cache: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dino_jax")
    path = fetch(Remote(server.url), patience=IMPATIENT)
    assert path == cache / "weights.pth"
    assert path.read_bytes() == CONTENT
    assert sum("no checksum is published" in line for line in caplog.messages) == 1
    assert (cache / "weights.pth.sha256").read_text().split() == [
        hashlib.sha256(CONTENT).hexdigest(), "weights.pth",
    ]  # fmt: skip
    assert fetch(Remote(server.url), offline=True) == path
    assert len(server.asked) == 1
    assert sum("no checksum is published" in line for line in caplog.messages) == 1
    assert sorted(entry.name for entry in cache.iterdir()) == ["weights.pth", "weights.pth.sha256"]


def test_a_dropped_connection_is_resumed_where_it_ended(server: Served) -> None:
    server.drops = [100_000, 50_000]
    path = fetch(Remote(server.url), patience=IMPATIENT)
    assert path.read_bytes() == CONTENT
    assert [asked.get("range") for asked in server.asked] == [
        None,
        "bytes=100000-",
        "bytes=150000-",
    ]
    assert server.asked[1]["if-range"] == '"first"'


def test_a_later_call_goes_on_with_the_part(server: Served, cache: pathlib.Path) -> None:
    server.drops = [70_000, 0, 0]
    assert f"70000 of {len(CONTENT)} bytes" in refused(Remote(server.url))
    assert (cache / "weights.pth.part").stat().st_size == 70_000
    assert fetch(Remote(server.url), patience=IMPATIENT).read_bytes() == CONTENT
    assert server.asked[-1]["range"] == "bytes=70000-"
    assert not list(cache.glob("*.part*"))


@pytest.mark.parametrize("fault", ["no ranges", "changed", "no tag"])
def test_what_cannot_be_resumed_begins_anew(server: Served, fault: str) -> None:
    server.drops = [70_000, 0, 0]
    if fault == "no tag":
        server.tag = ""
    refused(Remote(server.url))
    if fault == "changed":
        server.content, server.tag = archive(200_000), '"second"'
    server.ranges = fault == "changed"
    path = fetch(Remote(server.url), patience=IMPATIENT)
    assert path.read_bytes() == server.content


@pytest.mark.parametrize("shift", [-1, 1, 1000, None])
def test_a_part_from_another_place_is_not_put_behind_what_is_held(
    server: Served, shift: int | None
) -> None:
    server.drops, server.shift = [70_000], shift
    path = fetch(Remote(server.url), patience=IMPATIENT)
    assert path.read_bytes() == CONTENT
    assert [asked.get("range") for asked in server.asked] == [None, "bytes=70000-", None]


def test_a_part_that_is_not_the_rest_is_gone_on_from(server: Served) -> None:
    server.drops, server.most = [70_000], 50_000
    path = fetch(Remote(server.url), patience=Patience(timeout=5, attempts=9, pause=0.01))
    assert path.read_bytes() == CONTENT
    assert server.asked[2]["range"] == "bytes=120000-"


def test_a_part_that_was_not_asked_for_is_refused(server: Served, cache: pathlib.Path) -> None:
    server.unasked = True
    assert "sent a part" in refused(Remote(server.url))
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("told", [False, True])
def test_more_than_any_published_file_is_refused(
    server: Served, cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    monkeypatch.setattr("dino_jax.interop.download.MOST", len(CONTENT) - 1)
    monkeypatch.setattr("dino_jax.interop.download._CHUNK", 1000)
    server.told = told
    assert "more than" in refused(Remote(server.url))
    assert list(cache.iterdir()) == []
    assert len(server.asked) == 1
    monkeypatch.setattr("dino_jax.interop.download.MOST", len(CONTENT))
    assert fetch(Remote(server.url), patience=IMPATIENT).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "content",
    [CONTENT[:-30], CONTENT[:200_000], older()[:-30], older()[:90]],
    ids=["zip", "half a zip", "older", "older, in its pickles"],
)
def test_what_is_cut_short_without_a_length_is_never_trusted(
    server: Served, cache: pathlib.Path, content: bytes
) -> None:
    server.content, server.told = content, False
    assert "again" in refused(Remote(server.url))
    assert list(cache.iterdir()) == []


def test_a_file_of_before_torch_16_is_downloaded(server: Served) -> None:
    server.content, server.told = older(), False
    path = fetch(Remote(server.url), patience=IMPATIENT)
    assert path.read_bytes() == server.content
    assert read_pth(path)["weight"].tobytes() == server.content[-5000:]


def test_a_changed_byte_is_seen_before_the_checksum_is_noted(
    server: Served, cache: pathlib.Path
) -> None:
    changed = bytearray(CONTENT)
    changed[100_000] ^= 1
    server.content = bytes(changed)
    assert "CRC-32" in refused(Remote(server.url))
    assert list(cache.iterdir()) == []


def test_a_part_longer_than_the_file_begins_anew(server: Served, cache: pathlib.Path) -> None:
    cache.mkdir()
    (cache / "weights.pth.part").write_bytes(CONTENT + b"more")
    (cache / "weights.pth.part.tag").write_text('"first"')
    assert fetch(Remote(server.url), patience=IMPATIENT).read_bytes() == CONTENT


def test_a_published_checksum_is_held_to(server: Served, cache: pathlib.Path) -> None:
    right = hashlib.sha256(CONTENT).hexdigest()[:8]
    assert "publisher says 00000000" in refused(Remote(server.url, sha256="00000000"))
    assert list(cache.iterdir()) == []
    assert fetch(Remote(server.url, sha256=right), patience=IMPATIENT).is_file()


def test_a_file_that_changed_since_its_first_use_is_refused(
    server: Served, cache: pathlib.Path
) -> None:
    path = fetch(Remote(server.url), patience=IMPATIENT)
    changed = bytearray(CONTENT)
    changed[1000] ^= 1
    path.write_bytes(changed)
    line = refused(Remote(server.url))
    assert "is not what it was" in line
    assert "weights.pth.sha256" in line


def test_an_md5_that_others_noted_is_only_said(
    server: Served, caplog: pytest.LogCaptureFixture
) -> None:
    fetch(Remote(server.url, md5="ffffff"), patience=IMPATIENT)
    assert any("MD5" in line for line in caplog.messages)


@pytest.mark.parametrize("way", ["argument", "environment"])
def test_offline_says_what_to_put_where_and_then_takes_it(
    cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "environment":
        monkeypatch.setenv("DINO_JAX_OFFLINE", "1")
    remote = Remote("https://example.invalid/weights.pth")
    line = refused(remote, offline=way == "argument")
    assert "https://example.invalid/weights.pth" in line
    assert str(cache / "weights.pth") in line
    cache.mkdir()
    (cache / "weights.pth").write_bytes(CONTENT)
    assert fetch(remote, offline=way == "argument").read_bytes() == CONTENT


BY_HAND = {
    "page": (b"<!DOCTYPE html><html>Sign in", "is a web page"),
    "cut": (CONTENT[:-30], "is cut short"),
    "empty": (b"", "is cut short"),
    "text": (b"version https://git-lfs", "is no .pth file"),
    "cut, older": (older()[:-30], "does not read as a .pth file"),
    "within": (CONTENT[:1000] + b"x" + CONTENT[1001:], "does not read as a .pth file"),
}


@pytest.mark.parametrize("what", BY_HAND)
def test_a_wrong_file_put_by_hand_is_refused(cache: pathlib.Path, what: str) -> None:
    content, line = BY_HAND[what]
    cache.mkdir()
    (cache / "weights.pth").write_bytes(content)
    assert line in refused(Remote("https://example.invalid/weights.pth"), offline=True)
    assert [entry.name for entry in cache.iterdir()] == ["weights.pth"]  # kept, and not trusted


def test_a_page_instead_of_weights(server: Served, cache: pathlib.Path) -> None:
    server.content, server.kind = b"<html>Sign in</html>", "text/html; charset=utf-8"
    assert "is a web page" in refused(Remote(server.url))
    server.kind = "application/octet-stream"
    assert "is a web page" in refused(Remote(server.url))
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("target", ["http://127.0.0.1:9/other.pth", "file:///etc/passwd"])
def test_a_redirect_to_anything_but_https_is_refused(server: Served, target: str) -> None:
    server.target = target
    line = refused(Remote(server.url))
    assert "not https" in line or "not allowed" in line
    assert target in line


def test_not_found_is_said_at_once_with_what_to_do(server: Served, cache: pathlib.Path) -> None:
    server.status = 404
    line = refused(Remote(server.url))
    assert "404" in line
    assert str(cache / "weights.pth") in line
    assert len(server.asked) == 1
    assert list(cache.iterdir()) == []


def test_a_busy_server_is_asked_again(server: Served) -> None:
    server.status = 503
    assert "503" in refused(Remote(server.url))
    assert len(server.asked) == IMPATIENT.attempts


def test_no_network_is_one_line(server: Served, cache: pathlib.Path) -> None:
    closed = server.url
    server.socket.close()
    assert f"put it at {cache / 'weights.pth'}" in refused(Remote(closed))
    assert "cannot download" in refused(Remote("https://name.invalid/weights.pth"))


def test_a_full_disk_is_one_line_before_the_download(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    assert "no space left" in refused(Remote(server.url))


def test_a_full_disk_is_one_line_amid_the_download(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("dino_jax.interop.download._copy", full)
    assert "no space left" in refused(Remote(server.url))


def test_a_cache_that_cannot_be_made_is_one_line(
    server: Served, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DINO_JAX_CACHE", str(tmp_path / "file" / "cache"))
    assert "DINO_JAX_CACHE" in refused(Remote(server.url))


def test_the_cache_is_in_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.delenv("DINO_JAX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "dino_jax"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == pathlib.Path.home() / ".cache" / "dino_jax"


def test_threads_at_once_download_it_once_each_seeing_it_whole(server: Served) -> None:
    found: list[bytes] = []

    def one() -> None:
        found.append(fetch(Remote(server.url), patience=IMPATIENT).read_bytes())

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [CONTENT] * 4
    assert len(server.asked) == 1


def test_processes_at_once_download_it_once(server: Served, cache: pathlib.Path) -> None:
    program = (
        "from dino_jax.interop.download import *; from dino_jax.interop.cached import Remote; "
        f"print(fetch(Remote({server.url!r})).stat().st_size)"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    assert [int(process.communicate()[0]) for process in started] == [len(CONTENT)] * 2
    assert len(server.asked) == 1
    assert not list(cache.glob("*.part*"))
