"""The examples of documents and docstrings run."""

from __future__ import annotations

import doctest
import re
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import epsball as eb

DOCS = Path(__file__).parents[1] / "docs"
PACKAGE = Path(eb.__file__).parent
EXAMPLES = [path for path in sorted(PACKAGE.rglob("*.py")) if "\n    >>> " in path.read_text()]
LIBRARIES = {"torch": "torch", "Lightning": "pytorch_lightning", "scikit-learn": "sklearn", "JAX": "jax"}


def example(document: str, heading: str) -> str:
    """The first block of code under a heading."""
    section = (DOCS / document).read_text().split(f"\n## {heading}\n", 1)[1]
    found = re.search(r"```python\n(.*?)```", section, re.S)
    assert found
    return found.group(1)


@pytest.mark.parametrize(("heading", "library"), LIBRARIES.items())
@pytest.mark.filterwarnings("default")  # what the other libraries warn of is theirs
def test_embedding_examples_run(heading: str, library: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import_module(library)
        except ImportError:
            # An example is for those who have its library; CI has all but JAX.
            pytest.skip(f"{library} is not installed")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(example("embedding.md", heading), f"embedding.md: {heading}", "exec"), names)
    model = names.get("perturb") or names["model"].perturb
    assert model.rows >= 640
    assert heading == "JAX" or model.engine == "epsball"


def test_the_readmes_example_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    load = eb.datasets.load
    monkeypatch.setattr(eb.datasets, "load", lambda *a, **k: tuple(part[:300] for part in load(*a, **k)))
    code = re.search(r"```python\n(.*?)```", (DOCS.parent / "README.md").read_text(), re.S)
    assert code
    exec(compile(code.group(1), "README.md", "exec"), {"__name__": "example"})
    assert "worst case per row" in capsys.readouterr().out


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_of_docstrings_give_what_they_say(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    name = ".".join(["epsball", *path.relative_to(PACKAGE).with_suffix("").parts])
    module = pytest.importorskip(name, exc_type=ImportError)  # epsball.sklearn is for those who have scikit-learn
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0
