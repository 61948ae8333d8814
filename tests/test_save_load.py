"""Model files: safetensors with a format version; a round trip keeps every bit, a bad file is named."""

from __future__ import annotations

import copy
import json
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import LAYERS, batch, engine, image_model, labels, pair
from oracle import random_net

pytest.importorskip("safetensors")


def saved(folder: Path) -> Path:
    path = folder / "model.safetensors"
    engine(random_net([9, 7, 4], "relu")).save(path)
    return path


def parts(path: Path) -> tuple[dict[str, Any], bytes]:
    """(header, tensor bytes) of a safetensors file."""
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    return json.loads(raw[8 : 8 + size]), raw[8 + size :]


def write(path: Path, header: dict[str, Any], data: bytes) -> None:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.mark.parametrize("activation", LAYERS)
def test_round_trip_keeps_every_bit(tmp_path: Path, activation: str) -> None:
    model = engine(random_net([9, 7, 7, 4], activation))
    path = tmp_path / "model.safetensors"
    model.save(path)
    again = eb.load(path)
    assert list(again.parameters()) == list(model.parameters())
    for name, p in model.parameters().items():
        assert again.parameters()[name].tobytes() == p.tobytes()
    assert again.layers == model.layers
    assert tuple(again.input_shape) == tuple(model.input_shape)
    x = batch(5, 9)
    np.testing.assert_array_equal(again(x), model(x))


def test_layer_options_survive(tmp_path: Path) -> None:
    model = eb.Sequential(
        [eb.Flatten(), eb.Linear(12, 5, bias=False), eb.LeakyReLU(slope=0.3), eb.Dropout(p=0.25),
         eb.Linear(5, 4), eb.ELU(alpha=0.5), eb.Linear(4, 1)],
        input_shape=(3, 2, 2),
    )  # fmt: skip
    path = tmp_path / "m.safetensors"
    model.save(str(path))
    again = eb.load(str(path))
    assert again.layers == model.layers
    assert again.classes == 1
    x = batch(4, 12).reshape(4, 3, 2, 2)
    np.testing.assert_array_equal(again(x), model(x))


IMAGES: dict[str, tuple[list[Any], tuple[int, ...]]] = {
    "Conv2d": ([eb.Conv2d(3, 4, (2, 3), (1, 2), (1, 0), bias=False)], (3, 4, 5)),
    "MaxPool2d": ([eb.MaxPool2d((2, 3), 1, (1, 0))], (3, 4, 5)),
    "AvgPool2d": ([eb.AvgPool2d(2)], (3, 4, 5)),
    "BatchNorm1d": ([eb.BatchNorm1d(7, eps=0.25, momentum=0.5)], (7,)),
    "BatchNorm2d": ([eb.BatchNorm2d(3, eps=1e-3, momentum=1)], (3, 4, 5)),
    "Normalize": ([eb.Normalize((0.1, 0.2, 0.3), 0.7)], (3, 4, 5)),
    "Residual": (
        [eb.Residual([eb.Conv2d(3, 3, 3, padding=1), eb.Residual([eb.ELU(0.5)])], [eb.BatchNorm2d(3)])],
        (3, 4, 5),
    ),
    "all": (
        [eb.Normalize(0.5, 0.1), eb.Conv2d(3, 4, 2), eb.BatchNorm2d(4), eb.ReLU(), eb.MaxPool2d(2), eb.Linear(4, 2)],
        (3, 3, 4),
    ),
}


@pytest.mark.parametrize(("layers", "shape"), IMAGES.values(), ids=IMAGES.keys())
def test_layers_of_images_keep_every_bit(tmp_path: Path, layers: list[Any], shape: tuple[int, ...]) -> None:
    model, net = image_model(layers, shape)
    path = tmp_path / "m.safetensors"
    model.save(path)
    again = eb.load(path)
    assert again.layers == model.layers
    assert repr(again) == repr(model)
    for name, p in model.parameters().items():
        assert again.parameters()[name].tobytes() == p.tobytes()
    x = batch(9, net.features)
    np.testing.assert_array_equal(again(x), model(x))


def test_file_is_plain_safetensors_with_a_format_version(tmp_path: Path) -> None:
    path = saved(tmp_path)
    header, _ = parts(path)
    assert set(header) - {"__metadata__"} == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert "version" in json.dumps(header["__metadata__"])
    from safetensors.numpy import load_file

    for name, p in eb.load(path).parameters().items():
        np.testing.assert_array_equal(load_file(path)[name], p)


def test_saving_replaces_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = saved(tmp_path)
    engine(random_net([9, 7, 4], "relu", seed=1)).save(path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    other = engine(random_net([9, 7, 4], "relu", seed=1))
    np.testing.assert_array_equal(eb.load(path)(batch(3, 9)), other(batch(3, 9)))


def test_failed_save_keeps_the_old_file(tmp_path: Path) -> None:
    path = saved(tmp_path)
    before = path.read_bytes()
    with pytest.raises(OSError, match="no such folder"):
        engine(random_net([9, 4])).save(tmp_path / "no such folder" / "m.safetensors")
    assert path.read_bytes() == before


def test_path_to_write_is_named_as_given(tmp_path: Path) -> None:
    model = engine(random_net([9, 4]))
    (tmp_path / "file").touch()
    for error, path in (
        (FileNotFoundError, tmp_path / "nodir" / "m.st"),
        (NotADirectoryError, tmp_path / "file" / "m.st"),
        (IsADirectoryError, tmp_path),
    ):
        with pytest.raises(error, match=re.escape(f"'{path}'") + "$"):
            model.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_folder_to_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=re.escape(f"'{tmp_path}'")):
        eb.load(tmp_path)
    with pytest.raises(IsADirectoryError, match=re.escape(f"'{tmp_path}'")):
        eb.fit(eb.models.linear(9, 3), batch(6, 9), labels(6, 3), epochs=1, checkpoint=tmp_path)


def _bumped(text: str) -> str:
    """Metadata text with every value of a key that names a version changed to 999."""

    def bump(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {k: bump(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [bump(v) for v in value]
        if "version" in key:
            return "999" if isinstance(value, str) else 999
        if isinstance(value, str) and value[:1] in "{[":
            return json.dumps(bump(json.loads(value)))
        return value

    return json.dumps(bump(json.loads(text)))


def _version(header: dict[str, Any]) -> dict[str, Any]:
    bumped = json.loads(_bumped(json.dumps(header["__metadata__"])))
    assert bumped != header["__metadata__"], "no version found in the metadata"
    return {**header, "__metadata__": bumped}


def _without(header: dict[str, Any], name: str) -> dict[str, Any]:
    return {n: v for n, v in header.items() if n != name}


def _reshaped(header: dict[str, Any]) -> dict[str, Any]:
    rows, columns = header["0.weight"]["shape"]
    return {**header, "0.weight": {**header["0.weight"], "shape": [columns, rows]}}


HEADERS: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "wrong version": (_version, "version"),
    "foreign file": (lambda h: _without(h, "__metadata__"), "epsball|metadata|version|format"),
    "foreign metadata": (
        lambda h: {**h, "__metadata__": {"format": "pt"}},
        "epsball|metadata|version|format",
    ),
    "wrong shape": (_reshaped, "0.weight"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_bad_header_is_a_clear_error(tmp_path: Path, case: str) -> None:
    path = saved(tmp_path)
    header, data = parts(path)
    change, wanted = HEADERS[case]
    write(path, change(header), data)
    with pytest.raises(ValueError, match=wanted) as caught:
        eb.load(path)
    assert path.name in str(caught.value)


def test_missing_tensor_is_named(tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.numpy import save_file

    path = saved(tmp_path)
    with safe_open(path, "np") as f:
        metadata = f.metadata()
        tensors = {n: f.get_tensor(n) for n in f.keys()}  # noqa: SIM118
    save_file({n: t for n, t in tensors.items() if n != "2.bias"}, path, metadata)
    with pytest.raises(ValueError, match=r"2\.bias"):
        eb.load(path)
    save_file({**tensors, "4.weight": np.zeros((2, 2), np.float32)}, path, metadata)
    with pytest.raises(ValueError, match=r"4\.weight"):
        eb.load(path)
    save_file({**tensors, "2.bias": np.full(4, np.nan, np.float32)}, path, metadata)
    with pytest.raises(ValueError, match=r"2\.bias"):
        eb.load(path)


RAW: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda raw: b"",
    "seven bytes": lambda raw: raw[:7],
    "truncated header": lambda raw: raw[:40],
    "truncated data": lambda raw: raw[:-5],
    "oversized header": lambda raw: struct.pack("<Q", 2**62) + raw[8:],
    "header longer than the file": lambda raw: struct.pack("<Q", len(raw)) + raw[8:],
    "not json": lambda raw: raw[:8] + b"\xff" * (len(raw) - 8),
    "an image": lambda raw: b"\x89PNG\r\n\x1a\n" + bytes(200),
    "a pickle": lambda raw: b"\x80\x04\x95" + bytes(200),
}


@pytest.mark.parametrize("damage", RAW.values(), ids=RAW.keys())
def test_damaged_file_is_a_clear_error(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = saved(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=re.escape(path.name)):
        eb.load(path)


def test_missing_file_is_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        eb.load(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_has_the_same_weights_and_its_own(copied: Callable[[Any], Any]) -> None:
    model, _ = pair([5, 4, 3])
    x, y = batch(6, 5), labels(6, 3)
    twin = copied(model)
    before = model(x)
    np.testing.assert_array_equal(twin(x), before)
    eb.fit(twin, x, y, epochs=1)
    np.testing.assert_array_equal(model(x), before)
    assert (twin(x) != before).any()
