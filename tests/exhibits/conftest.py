"""Exhibits are computed once a module, from the packaged digits; the test of its name asserts what each shows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from epsball import exhibits
from epsball.reports import files


@pytest.fixture(scope="module")
def found(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the exhibit of the test file's name found, as its JSON has it."""
    name = request.path.stem.removeprefix("test_")
    document = json.loads(files.to_json(exhibits.run(name).to_dict()))
    assert document["exhibit"] == name
    return document["findings"]
