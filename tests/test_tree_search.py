"""TreeSearch: the first leaf of another class under the lowest node above a row, behind the thresholds on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch
from epsball.sources import Tree
from test_tree_minimum import CLASSES, FEATURES, ROWS, random_tree, trees

A = eb.attacks


def leaves_below(tree: Tree, node: int) -> list[int]:
    """The leaves under a node from left to right."""
    if tree.feature[node] < 0:
        return [node]
    return leaves_below(tree, int(tree.left[node])) + leaves_below(tree, int(tree.right[node]))


def leaves_with_points(tree: Tree, node: int, lower: np.ndarray, upper: np.ndarray) -> set[int]:
    """The leaves that some input lies in: thresholds drawn at random may contradict each other."""
    feature, cut = tree.feature[node], tree.threshold[node]
    if feature < 0:
        return {node}
    left, right = upper.copy(), lower.copy()
    left[feature], right[feature] = min(upper[feature], cut), max(lower[feature], cut)
    found: set[int] = set()
    if lower[feature] < cut:
        found |= leaves_with_points(tree, int(tree.left[node]), lower, left)
    if cut < upper[feature]:
        found |= leaves_with_points(tree, int(tree.right[node]), right, upper)
    return found


def way_to(tree: Tree, row: np.ndarray) -> list[int]:
    """The nodes that a row passes, its leaf last."""
    way = [0]
    while tree.feature[way[-1]] >= 0:
        node = way[-1]
        left = np.float32(row[tree.feature[node]]) <= tree.threshold[node]
        way.append(int((tree.left if left else tree.right)[node]))
    return way


def searched(tree: Tree, row: np.ndarray, wanted: Any) -> int | None:
    """The paper's search, node by node; None where there is no leaf."""
    way, open_to = way_to(tree, row), leaves_with_points(tree, 0, np.full(FEATURES, -np.inf), np.full(FEATURES, np.inf))
    for above, below in zip(reversed(way[:-1]), reversed(way[1:]), strict=True):
        other = tree.right[above] if below == tree.left[above] else tree.left[above]
        for leaf in leaves_below(tree, int(other)):
            if leaf in open_to and wanted(int(tree.value[leaf].argmax())):
                return leaf
    return None


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_go_to_the_leaf_that_the_papers_search_meets_first(seed: int, dtype: Any) -> None:
    tree, model = random_tree(seed), trees(seed)
    x = batch(ROWS, FEATURES, seed).astype(dtype)
    y = model.predict(x)
    result = A.TreeSearch(bounds=None).run(model, x)
    for row, moved, label, success in zip(x, result.x_adv, y, result.success, strict=True):
        leaf = searched(tree, row, lambda c, label=label: c != label)
        assert success == (leaf is not None)
        assert leaf is None or way_to(tree, moved)[-1] == leaf
    assert result.success.any()
    np.testing.assert_array_equal(result.distance, (result.x_adv != x).sum(axis=1))


def test_features_come_to_lie_behind_thresholds_by_the_offset() -> None:
    tree = Tree(np.array([0, -1, -1]), np.full(3, 0.5), np.array([1, 0, 0]), np.array([2, 0, 0]), np.eye(3)[[0, 1, 2]])
    model = eb.sources.Trees([tree], 2, np.zeros(3))
    x = np.array([[0.2, 0.3], [0.9, 0.3]])
    for offset in (0.1, 0.0):
        x_adv = A.TreeSearch(offset).run(model, x).x_adv
        np.testing.assert_allclose(x_adv, [[0.5 + offset, 0.3], [0.5 - offset, 0.3]], atol=1e-7)
        assert (model.predict(x_adv) == [2, 1]).all()
    narrow = A.TreeSearch(0.1, bounds=(0.0, 0.55)).run(model, x[:1])
    assert narrow.success.all()
    assert 0.5 < narrow.x_adv[0, 0] <= 0.55


def test_box_mask_and_targets_hold() -> None:
    model, x = trees(3), batch(ROWS, FEATURES, 3)
    mask = np.array([1, 0, 1], np.uint8)
    result = A.TreeSearch(mask=mask).run(model, x)
    assert (result.x_adv[:, 1] == x[:, 1]).all()
    assert (result.x_adv >= 0).all()
    assert (result.x_adv <= 1).all()
    np.testing.assert_array_equal(result.success, model.predict(result.x_adv) != model.predict(x))
    targets = (model.predict(x) + 1) % CLASSES
    aimed = A.TreeSearch(targeted=True).run(model, x, targets)
    np.testing.assert_array_equal(aimed.success, model.predict(aimed.x_adv) == targets)
    assert aimed.success.any()


def test_the_nearest_leaf_is_never_further_and_as_often_there() -> None:
    model, x = trees(1), batch(ROWS, FEATURES, 1)
    near, first = A.TreeMinimum("l2").run(model, x), A.TreeSearch(norm="l2").run(model, x)
    np.testing.assert_array_equal(near.success, first.success)
    assert (near.distance <= first.distance).all()
    assert (near.distance < first.distance).any()


def test_bad_input_is_named() -> None:
    model, x = trees(0), batch(ROWS, FEATURES, 0)
    with pytest.raises((ValueError, TypeError), match="offset"):
        A.TreeSearch(-0.1)
    with pytest.raises(TypeError, match=r"model: wanted epsball\.sources\.Trees of a single tree"):
        A.TreeSearch()(eb.LabelOracle(model.predict), x)
    with pytest.raises(ValueError, match="y: a targeted attack needs"):
        A.TreeSearch(targeted=True)(model, x)
