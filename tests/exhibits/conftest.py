"""Exhibits are computed once a module, from the packaged digits; the test of its name asserts what each shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from epsball import exhibits
from epsball.reports import files


@pytest.fixture(scope="module")
def show() -> Callable[[str], dict[str, Any]]:
    """Compute an exhibit and return what it found, as its JSON has it."""

    def show(name: str) -> dict[str, Any]:
        document = json.loads(files.to_json(exhibits.run(name).to_dict()))
        assert document["exhibit"] == name
        return document["findings"]

    return show
