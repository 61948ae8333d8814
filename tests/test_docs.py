"""The examples of the documents run."""

from __future__ import annotations

import re
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[1] / "docs"
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
