"""The benchmark runs, its JSON has the promised fields, and absent peers are named."""

from __future__ import annotations

import json
import runpy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epsball as eb
from epsball.bench import overhead, peers, run, scaling, timing
from epsball.reports import files

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = {"median", "low", "high"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """One tiny run, through JSON and back."""
    found = run.run([("softmax", 1), ("mlp", 3)], [], seconds=0.01, repeats=2, threads=1)
    return json.loads(files.to_json(found.to_dict()))


def test_json_has_the_promised_fields(document: dict[str, Any]) -> None:
    assert document["schema"] == run.SCHEMA
    assert {"cpu", "threads", "table", "fma_gflops", "copy_gbs"} <= set(document["machine"])
    assert document["machine"]["fma_gflops"]["1"]["median"] > 0
    assert document["machine"]["copy_gbs"]["1"]["median"] > 0
    assert [(line["model"], line["batch"]) for line in document["attack"]] == [("softmax", 1), ("mlp", 3)]
    for line in document["attack"]:
        assert set(line["rate"]) == SAMPLE
        assert line["rate"]["low"] <= line["rate"]["median"] <= line["rate"]["high"]
        assert line["peak_fraction"] > 0
        assert line["best_peer_ratio"] is None
        assert line["outside"] == 0


def test_a_stored_run_prints_like_a_fresh_one(document: dict[str, Any]) -> None:
    titles = [title for title, _, _ in run.tables(document)]
    assert titles == ["This machine", "Attack throughput"]


def test_the_tool_fills_the_block_of_the_readme_and_nothing_else(document: dict[str, Any]) -> None:
    tool = runpy.run_path(str(ROOT / "benchmarks" / "table.py"))
    readme = (ROOT / "README.md").read_text()
    filled = tool["fill"](readme, document)
    assert "| mlp, 3 |" in filled
    before, after = readme.split("<!-- figures -->")[0], readme.split("<!-- /figures -->")[1]
    assert filled.startswith(before)
    assert filled.endswith(after)
    assert tool["fill"](filled, document) == filled
    with pytest.raises(ValueError, match="no block"):
        tool["fill"]("# other", document)


def test_absent_peers_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(task: peers.Task) -> peers.Attack:
        raise ModuleNotFoundError("No module named 'nowhere'", name="nowhere")

    def broken(task: peers.Task) -> peers.Attack:
        raise AttributeError("module has no attribute 'x'\nmore")

    monkeypatch.setitem(peers.PEERS, "a", peers.Peer("a", "nowhere", missing))
    monkeypatch.setitem(peers.PEERS, "b", peers.Peer("b", "numpy", broken))
    found = run.run([("softmax", 1)], ["a", "b"], seconds=0.01, repeats=1, threads=1)
    reasons = {peer.name: peer.reason for peer in found.absent}
    assert reasons == {
        "a": "not installed (no module nowhere)",
        "b": "AttributeError: module has no attribute 'x'",
    }
    caption = {title: caption for title, _, caption in found.tables()}["Attack throughput"]
    assert "absent: a: not installed" in caption


def test_a_present_peer_stands_beside_epsball(monkeypatch: pytest.MonkeyPatch) -> None:
    still = peers.Peer("still", "numpy", lambda task: lambda: task.x.copy())
    monkeypatch.setitem(peers.PEERS, "still", still)
    found = run.run([("softmax", 2)], ["still"], seconds=0.01, repeats=1, threads=1)
    ratio = {line.contender: line.best_peer_ratio for line in found.attack}
    assert ratio["still"] == 1
    assert ratio["epsball"] is not None


@pytest.mark.parametrize("name", peers.DEFAULT)
def test_an_installed_peer_runs_the_same_attack(name: str) -> None:
    if name == "torch-compile":
        pytest.skip("compiles for half a minute")
    present, absent = peers.find([name])
    if absent:  # peers are optional: only torch is part of CI, the others are installed where the table is measured
        pytest.skip(absent[0].reason)
    generator = np.random.default_rng(0)
    layers = [eb.Conv2d(1, 4, 3, padding=1), eb.ReLU(), eb.MaxPool2d(2), eb.Flatten(), eb.Linear(36, 5)]
    model = eb.Sequential(layers, input_shape=(1, 6, 6))
    weights = {k: generator.normal(size=v.shape).astype(np.float32) for k, v in model.parameters().items()}
    model.load_parameters(weights)
    x = generator.random((30, 1, 6, 6), dtype=np.float32)
    task = peers.Task(model, x, model.predict(x), threads=1)
    moved = peers.to_numpy(present[0].prepare(task)())
    assert np.abs(moved - x).max() <= task.eps + 1e-6
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert task.error(moved) > task.error(x)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="peers: no peer 'nobody'"):
        peers.find(["nobody"])
    with pytest.raises(ValueError, match="cells: vgg:1"):
        run.run([("vgg", 1)], [])


def test_scaling_sweeps_every_knob() -> None:
    sweeps = scaling.measure(threads=1, seconds=0.01, repeats=1, largest=32)
    assert [s.name for s in sweeps] == ["rows", "steps", "width", "depth", "slab", "threads"]
    for sweep in sweeps:
        assert all(point.seconds > 0 and point.gflops > 0 for point in sweep.points)
        assert scaling.bars(sweep).count("\n") == len(sweep.points) - 1


def test_the_knee_is_the_first_point_after_a_fall() -> None:
    points = [scaling.Point(n, 1.0, gflops) for n, gflops in ((7, 50), (14, 90), (28, 100), (56, 94), (112, 60))]
    assert scaling._knee(points) == 56
    assert scaling._knee(points[:3]) is None


def test_threads_are_compared_with_the_fma_loop() -> None:
    points = (scaling.Point(1, 1.0, 50.0, fma_gflops=100.0), scaling.Point(2, 0.6, 90.0, fma_gflops=180.0))
    sweep = scaling.Sweep("threads", points, exponent=None, knee=None, fits=None)
    assert scaling.thread_efficiency(sweep) == pytest.approx((90 / 50) / (180 / 100))
    assert scaling.sentences(sweep) == ["the attack scales at 1.00 of what the FMA loop does"]
    assert scaling.thread_efficiency(scaling.Sweep("threads", points[:1], None, None, None)) is None


def test_a_slab_fits_the_cache_up_to_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [scaling.Point(n, 1.0, 1.0, slab_bytes=1000 * n) for n in (7, 14, 28)]
    monkeypatch.setattr(scaling, "l2_bytes", lambda: 20_000)
    assert scaling._fits(points) == 14
    monkeypatch.setattr(scaling, "l2_bytes", lambda: None)
    assert scaling._fits(points) is None


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_scaling_is_drawn_to_an_image(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    points = (scaling.Point(1, 1.0, 50.0, fma_gflops=100.0), scaling.Point(2, 0.6, 90.0, fma_gflops=180.0))
    sweeps = [scaling.Sweep(name, points, 1.0, knee=2, fits=None) for name in ("rows", "steps", "threads")]
    file = tmp_path / f"scaling.{suffix}"
    scaling.check_plot(file)
    scaling.plot(sweeps, file)
    assert file.read_bytes().startswith(b"\x89PNG" if suffix == "png" else b"<?xml")


def test_slab_bytes_counts_what_the_engine_counts() -> None:
    # By hand, after SlabAttack::floats_per_row and Plan::floats_per_row: 784 and 256 are multiples of 16, 10 is padded.
    assert scaling.slab_bytes((784, 256, 256, 10), 7) == 4 * 7 * (5 * 784 + (256 + 256 + 16) + 2 * 256)
    source = (ROOT / "src" / "attacks" / "attack.cpp").read_text()
    assert "return 5 * padded(target.features()) + target.floats_per_row();" in source
    assert f"kRowPad = {scaling.ROW_PAD};" in (ROOT / "src" / "array.h").read_text()


def test_linear_cost_has_exponent_one() -> None:
    points = [scaling.Point(n, 0.001 * n, 1.0) for n in (1, 10, 50, 100)]
    exponent = scaling._exponent([p.value for p in points], points)
    assert exponent == pytest.approx(1)


def test_interleave_takes_turns_and_quotes_medians() -> None:
    order: list[str] = []

    def probe(name: str, values: list[float]) -> timing.Probe:
        left = iter(values)
        return lambda: (order.append(name), next(left))[1]

    found = timing.interleave({"a": probe("a", [1, 9, 2]), "b": probe("b", [5, 5, 5])}, 3)
    assert "".join(order) == "abbaab"
    assert found["a"] == timing.Sample(median=2, low=1, high=9)


@pytest.mark.parametrize(("name", "rows", "threads"), [("mlp", 2000, 1), ("cnn", 1000, 2), ("large-cnn", 200, 2)])
def test_an_attack_keeps_to_the_memory_that_is_promised(name: str, rows: int, threads: int) -> None:
    spare = {name: spare for name, _, spare in overhead.MEMORY}[name]
    found = overhead.memory(name, rows, spare, threads)
    assert found.inputs == rows * (784 * 4 + 8)
    assert found.peak >= found.inputs + found.outputs  # the high-water mark saw at least what was put there
    assert found.peak <= found.promised


def test_overhead_is_a_table_of_calls_import_memory_and_syncs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "MEMORY", (("mlp", 100, 16 << 20),))
    monkeypatch.setattr(overhead, "SYNCED", ("mlp",))
    found = run.run([("softmax", 1)], [], with_overhead=True, seconds=0.01, repeats=1, threads=1)
    stored = json.loads(files.to_json(found.to_dict()))
    title, table, caption = run.tables(stored)[-1]
    assert title == "Overhead"
    told = [" ".join(row) for row in table.rows]
    for what in ("one image, softmax", "import beyond", "peak memory, mlp, 100 rows", "16 MiB per thread"):
        assert any(what in line for line in told), what
    if find_spec("torch"):
        assert any("sync_from_torch, mlp" in line and "× a copy of 1.0 MiB" in line for line in told)
        assert not caption
    else:
        assert caption == "absent: sync_from_torch: torch is not installed"
