"""Data sets: what `load` returns, where it looks, and what it says of files that are not what they should be."""

from __future__ import annotations

import gzip
import hashlib
import os
import runpy
import socket
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from epsball import datasets
from epsball.datasets import idx

ROOT = Path(__file__).resolve().parent.parent


def encode(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


IMAGES = np.arange(3 * 28 * 28, dtype=np.uint32).reshape(3, 28, 28).astype(np.uint8)
LABELS = np.array([7, 0, 9], np.uint8)
CONTENT = encode(IMAGES)


# ---- the subset ----


@pytest.mark.parametrize(("split", "rows"), [("train", 10_000), ("test", 2_000)])
def test_subset_is_float32_in_unit_range_with_int64_labels(split, rows, monkeypatch):
    monkeypatch.delenv("EPSBALL_DATA", raising=False)
    x, y = datasets.load("mnist-subset", split)
    assert (x.shape, x.dtype) == ((rows, 1, 28, 28), np.float32)
    assert (y.shape, y.dtype) == ((rows,), np.int64)
    assert (x.min(), x.max()) == (0.0, 1.0)
    assert np.array_equal(np.unique(y), np.arange(10))


def test_subset_ships_with_its_licence():
    text = (Path(datasets.__file__).parent / "data" / "LICENSE-MNIST.md").read_text(encoding="utf-8")
    assert "LeCun" in text
    assert "Attribution-ShareAlike 3.0" in text


@pytest.mark.parametrize(("split", "stride"), [("train", 6), ("test", 5)])
@pytest.mark.full_mnist
def test_subset_is_every_kth_digit_of_mnist(split, stride):
    whole, subset = datasets.load("mnist", split), datasets.load("mnist-subset", split)
    for all_rows, some in zip(whole, subset, strict=True):
        assert np.array_equal(all_rows[::stride], some)


@pytest.mark.full_mnist
def test_tool_makes_the_subset_again_to_the_bit(tmp_path, monkeypatch):
    mnist = str(Path(os.environ["EPSBALL_DATA"], "mnist"))
    monkeypatch.setattr(sys, "argv", ["make_mnist_subset.py", mnist, "--out", str(tmp_path)])
    runpy.run_path(str(ROOT / "tools" / "make_mnist_subset.py"), run_name="__main__")
    shipped = Path(datasets.__file__).parent / "data" / "mnist-subset"
    names = sorted(path.name for path in shipped.iterdir())
    assert names == sorted(path.name for path in tmp_path.iterdir())
    for name in names:
        assert gzip.decompress((tmp_path / name).read_bytes()) == gzip.decompress((shipped / name).read_bytes())


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.full_mnist
def test_full_sets_load(name):
    if not Path(os.environ["EPSBALL_DATA"], name).is_dir():
        # The mark asks for MNIST alone; a user's folder need not hold the other set. CI's holds both.
        pytest.skip(f"EPSBALL_DATA does not hold {name}")
    x, y = datasets.load(name, split="test")
    assert x.shape == (10_000, 1, 28, 28)
    assert np.array_equal(np.bincount(y) > 800, np.ones(10, bool))


# ---- where it looks ----


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """Replace MNIST by a set of three digits; return the data folder and the cache, both empty."""
    files = tuple(
        datasets._File(name, array.shape, hashlib.md5(encode(array)).hexdigest(), "0" * 32)
        for name, array in (("images.gz", IMAGES), ("labels.gz", LABELS))
    )
    monkeypatch.setitem(datasets._DATA_SETS, "mnist", datasets._DataSet({"train": files}, "https://example.org/"))
    monkeypatch.setenv("EPSBALL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("EPSBALL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "pooch", None)  # as if it were not installed
    return tmp_path / "data" / "mnist", tmp_path / "cache" / "mnist"


def fill(folder: Path, compress: bool = True) -> None:
    folder.mkdir(parents=True)
    for name, array in (("images", IMAGES), ("labels", LABELS)):
        content = encode(array)
        (folder / (name + ".gz" * compress)).write_bytes(gzip.compress(content) if compress else content)


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("place", [0, 1])
def test_load_finds_gzipped_and_plain_files_in_data_and_in_cache(tiny, place, compress):
    fill(tiny[place], compress)
    x, y = datasets.load("mnist")
    assert np.array_equal(x, IMAGES[:, None] / np.float32(255))
    assert np.array_equal(y, LABELS)


def test_a_damaged_file_is_an_error_and_not_passed_over(tiny):
    for folder in tiny:
        fill(folder)
    wrong = tiny[0] / "labels.gz"
    wrong.write_bytes(gzip.compress(encode(LABELS + 1)))
    with pytest.raises(ValueError, match=r"labels\.gz: MD5 .* is [0-9a-f]{32}, expected [0-9a-f]{32}"):
        datasets.load("mnist")


def test_a_missing_set_without_pooch_names_the_folders_the_extra_and_the_subset(tiny):
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load("mnist")
    for part in (*map(str, tiny), "images.gz", "epsball[data]", "mnist-subset"):
        assert part in str(caught.value)


def test_a_missing_set_is_downloaded_into_the_cache_with_its_checksum(tiny, monkeypatch):
    asked = []

    def retrieve(url: str, known_hash: str, fname: str, path: Path) -> str:
        asked.append((url, known_hash, path))
        if not path.exists():
            fill(path)
        return str(path / fname)

    monkeypatch.setitem(sys.modules, "pooch", SimpleNamespace(retrieve=retrieve))
    _, y = datasets.load("mnist")
    assert np.array_equal(y, LABELS)
    assert asked == [("https://example.org/images.gz", "md5:" + "0" * 32, tiny[1])]  # the labels came with it


def test_a_failed_download_names_the_address_and_the_subset(tiny, monkeypatch):
    def retrieve(*_arguments: object) -> str:
        raise OSError("no route to host")

    monkeypatch.setitem(sys.modules, "pooch", SimpleNamespace(retrieve=retrieve))
    with pytest.raises(FileNotFoundError, match=r"example\.org/images\.gz .*no route to host.*mnist-subset"):
        datasets.load("mnist")


class Mirror:
    """A web server on this machine: what it has, what it says of the rest, and what it was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.error = 404
        self.asked: list[str] = []
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.asked.append(self.path)
                content = mirror.files.get(self.path, b"")
                self.send_response(200 if content else mirror.error)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"


@pytest.fixture
def mirror(tiny, monkeypatch):
    """Serve the set of three digits, so that pooch itself downloads it; return the mirror and the cache, empty."""
    monkeypatch.delitem(sys.modules, "pooch")
    pytest.importorskip("pooch")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    found = Mirror()
    files = []
    for name, array in (("images.gz", IMAGES), ("labels.gz", LABELS)):
        content = found.files[f"/{name}"] = gzip.compress(encode(array), mtime=0)
        md5s = (hashlib.md5(each).hexdigest() for each in (encode(array), content))
        files.append(datasets._File(name, array.shape, *md5s))
    monkeypatch.setitem(datasets._DATA_SETS, "mnist", datasets._DataSet({"train": tuple(files)}, found.url))
    thread = threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found, tiny[1]
    found.server.shutdown()
    thread.join()
    found.server.server_close()


def test_pooch_downloads_each_file_once_and_then_the_cache_has_it(mirror):
    served, cache = mirror
    for _ in range(2):
        x, y = datasets.load("mnist")
        assert np.array_equal(x, IMAGES[:, None] / np.float32(255))
        assert np.array_equal(y, LABELS)
    assert served.asked == ["/images.gz", "/labels.gz"]
    assert sorted(path.name for path in cache.iterdir()) == ["images.gz", "labels.gz"]


@pytest.mark.parametrize(
    "content",
    [gzip.compress(encode(255 - IMAGES), mtime=0), gzip.compress(CONTENT, mtime=0)[:-5], b"<html>moved</html>"],
    ids=["other digits", "truncated", "a web page"],
)
def test_a_download_of_another_checksum_is_an_error_and_leaves_nothing_behind(mirror, content):
    served, cache = mirror
    right, served.files["/images.gz"] = served.files["/images.gz"], content
    with pytest.raises(FileNotFoundError, match=rf"cannot download {served.url}images\.gz .*hash.*mnist-subset"):
        datasets.load("mnist")
    assert list(cache.iterdir()) == []
    served.files["/images.gz"] = right
    datasets.load("mnist")


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_an_error_of_the_server_is_named_and_leaves_nothing_behind(mirror, status):
    served, cache = mirror
    right, served.error = served.files.pop("/labels.gz"), status
    with pytest.raises(FileNotFoundError, match=rf"cannot download {served.url}labels\.gz .*{status}.*mnist-subset"):
        datasets.load("mnist")
    assert [path.name for path in cache.iterdir()] == ["images.gz"]
    served.files["/labels.gz"] = right
    datasets.load("mnist")
    assert served.asked.count("/images.gz") == 1


def test_a_server_that_is_not_there_is_an_error_that_names_the_address(mirror, monkeypatch):
    served, _ = mirror
    files = datasets._DATA_SETS["mnist"].splits
    with socket.socket() as closed:  # bound, so that nobody else has the port, but not listening
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        monkeypatch.setitem(datasets._DATA_SETS, "mnist", datasets._DataSet(files, url))
        with pytest.raises(FileNotFoundError, match=rf"cannot download {url}images\.gz .*mnist-subset"):
            datasets.load("mnist")
    assert served.asked == []


@pytest.mark.parametrize(
    ("arguments", "match"),
    [(("cifar",), "name: .*mnist.*'cifar'"), ((["mnist"],), "name: "), (("mnist", "dev"), "split")],
)
def test_unknown_names_and_splits_are_errors_that_list_the_known(arguments, match):
    with pytest.raises(ValueError, match=match):
        datasets.load(*arguments)


# ---- IDX files ----


@pytest.mark.parametrize("name", ["plain", "zipped.gz"])
def test_idx_reads_what_was_written(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(CONTENT) if name.endswith(".gz") else CONTENT)
    assert np.array_equal(idx.read(path), IMAGES)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "magic number is 0x, expected 0x00000803"),
        (b"\x00\x00\x08\x01" + CONTENT[4:], "magic number is 0x00000801, expected 0x00000803"),
        (b"\x00\x00\x0d\x03" + CONTENT[4:], "magic number is 0x00000d03"),
        (b"\x89PNG" + CONTENT[4:], "magic number is 0x89504e47"),
        (CONTENT[:9], "ends inside its header"),
        (CONTENT[:-1], "holds 2367 bytes, .* calls for 2368"),
        (CONTENT + b"\x00", "holds 2369 bytes, .* calls for 2368"),
        (encode(IMAGES[:2]), r"header says shape \(2, 28, 28\), expected \(3, 28, 28\)"),
        (encode(255 - IMAGES), "MD5 of the decompressed file is"),
    ],
)
@pytest.mark.parametrize("compress", [False, True])
def test_idx_names_the_file_and_what_was_expected(tmp_path, content, match, compress):
    path = tmp_path / ("digits.gz" if compress else "digits")
    path.write_bytes(gzip.compress(content) if compress else content)
    with pytest.raises(ValueError, match=match) as caught:
        idx.read(path, shape=(3, 28, 28), md5=hashlib.md5(CONTENT).hexdigest())
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [gzip.compress(CONTENT)[:-9], gzip.compress(CONTENT)[:40], CONTENT, b""],
    ids=["short trailer", "header only", "not compressed", "empty"],
)
def test_idx_says_so_when_gzip_is_truncated_or_is_none(tmp_path, content):
    path = tmp_path / "digits.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"digits\.gz: (truncated or damaged|magic)"):
        idx.read(path)


def test_idx_flipped_bits_in_gzip_are_an_error(tmp_path):
    content = bytearray(gzip.compress(CONTENT))
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "digits.gz").write_bytes(content)
    with pytest.raises(ValueError, match="truncated or damaged"):
        idx.read(tmp_path / "digits.gz")
