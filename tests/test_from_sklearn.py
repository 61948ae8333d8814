"""Models from scikit-learn: the same decision values and predictions, and errors that name what has no counterpart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb

pytest.importorskip("sklearn")

from sklearn import (
    datasets,
    discriminant_analysis,
    ensemble,
    linear_model,
    multiclass,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    svm,
)

CLOSE = 1e-5  # relative to the largest decision value, as float32 allows
LINEAR = {
    "logistic": lambda: linear_model.LogisticRegression(),
    "logistic-l1": lambda: linear_model.LogisticRegression(C=0.1, l1_ratio=1.0, solver="saga", max_iter=2000),
    "no-intercept": lambda: linear_model.LogisticRegression(fit_intercept=False),
    "logistic-cv": lambda: linear_model.LogisticRegressionCV(Cs=2, cv=2, scoring="accuracy"),
    "linear-svc": lambda: svm.LinearSVC(),
    "crammer-singer": lambda: svm.LinearSVC(multi_class="crammer_singer", max_iter=20000),
    "sgd": lambda: linear_model.SGDClassifier(random_state=0),
    "perceptron": lambda: linear_model.Perceptron(random_state=0),
    "ridge": lambda: linear_model.RidgeClassifier(),
    "one-vs-rest": lambda: multiclass.OneVsRestClassifier(linear_model.LogisticRegression()),
}


def data(classes: int, features: int = 7, rows: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping normal classes with correlated features, float32."""
    rng = np.random.default_rng([seed, classes, features])
    y = np.arange(rows) % classes
    mix = rng.normal(size=(classes, features, features)) / np.sqrt(features)
    x = rng.normal(0.0, 1.5, (classes, features))[y] + np.einsum(
        "nij,nj->ni", mix[y], rng.normal(size=(rows, features))
    )
    return x.astype(np.float32), y


def check_agrees(model: Any, estimator: Any, x: np.ndarray, wanted: np.ndarray) -> None:
    """`model`'s logits are `wanted`, and its predictions the estimator's on x and on points far from it."""
    wanted = wanted.reshape(len(x), -1)
    logits = np.asarray(model(x), np.float64)
    assert logits.shape == wanted.shape
    assert np.abs(logits - wanted).max() <= CLOSE * np.abs(wanted).max()
    far = np.concatenate([x, 3 * x[::-1], x[:50] + np.float32(0.3)])
    np.testing.assert_array_equal(estimator.classes_[model.predict(far)], estimator.predict(far))


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::sklearn.exceptions.ConvergenceWarning")
def test_linear_models_agree(name: str, classes: int) -> None:
    x, y = data(classes)
    estimator = LINEAR[name]().fit(x.astype(np.float64), y)
    model = eb.from_sklearn(estimator)
    assert model.classes == (1 if classes == 2 else classes)
    check_agrees(model, estimator, x, estimator.decision_function(x.astype(np.float64)))


def test_probabilities_agree_where_the_model_is_a_softmax_or_a_sigmoid() -> None:
    for classes in (2, 4):
        x, y = data(classes)
        estimator = linear_model.LogisticRegression().fit(x, y)
        p = np.asarray(eb.from_sklearn(estimator).probabilities(x))
        wanted = estimator.predict_proba(x)
        np.testing.assert_allclose(p, wanted[:, 1:] if classes == 2 else wanted, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_mlps_agree(activation: str, classes: int) -> None:
    x, y = data(classes)
    estimator = neural_network.MLPClassifier((9, 8), activation=activation, max_iter=30, random_state=0)
    estimator.fit(x.astype(np.float64), y)
    apply = {
        "identity": lambda a: a, "logistic": lambda a: 1 / (1 + np.exp(-a)), "tanh": np.tanh,
        "relu": lambda a: np.maximum(a, 0),
    }[activation]  # fmt: skip
    h = x.astype(np.float64)
    for w, b in zip(estimator.coefs_[:-1], estimator.intercepts_[:-1], strict=True):
        h = apply(h @ w + b)
    wanted = h @ estimator.coefs_[-1] + estimator.intercepts_[-1]
    model = eb.from_sklearn(estimator)
    check_agrees(model, estimator, x, wanted)
    p = estimator.predict_proba(x.astype(np.float64))
    np.testing.assert_allclose(model.probabilities(x), p[:, 1:] if classes == 2 else p, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_gaussian_naive_bayes_agrees(classes: int) -> None:
    x, y = data(classes)
    estimator = naive_bayes.GaussianNB(priors=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum()).fit(x, y)
    model = eb.from_sklearn(estimator)
    check_agrees(model, estimator, x, estimator.predict_joint_log_proba(x.astype(np.float64)))


@pytest.mark.parametrize("classes", [2, 3])
def test_quadratic_discriminants_agree(classes: int) -> None:
    x, y = data(classes)
    estimator = discriminant_analysis.QuadraticDiscriminantAnalysis(reg_param=0.01).fit(x.astype(np.float64), y)
    model = eb.from_sklearn(estimator)
    scores = np.asarray(model(x), np.float64)
    wanted = estimator.predict_log_proba(x.astype(np.float64))
    scores -= scores.max(axis=1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    assert np.abs(scores - wanted).max() <= CLOSE * np.abs(wanted).max()
    np.testing.assert_array_equal(model.predict(x), estimator.predict(x))


@pytest.mark.parametrize("offset", [0.0, 1e3, -1e5])
@pytest.mark.parametrize(
    "make",
    [naive_bayes.GaussianNB, lambda: discriminant_analysis.QuadraticDiscriminantAnalysis(reg_param=0.01)],
    ids=["naive-bayes", "qda"],
)
def test_features_far_from_zero_lose_no_digits(make: Any, offset: float) -> None:
    """A mean of a hundred thousand deviations: float32 squares of such inputs would have no digit left."""
    x, y = data(3)
    x = (x + np.float32(offset)).astype(np.float32)
    estimator = make().fit(x.astype(np.float64), y)
    scores, wanted = np.asarray(eb.from_sklearn(estimator)(x), np.float64), estimator.predict_log_proba(x)
    scores -= scores.max(axis=1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    assert np.abs(scores - wanted).max() <= CLOSE * np.abs(wanted).max()


@pytest.mark.parametrize("offset", [0.0, 1e3, -1e5])
@pytest.mark.parametrize(
    "scalers",
    [
        [preprocessing.StandardScaler()],
        [preprocessing.MinMaxScaler((-1, 1))],
        [preprocessing.StandardScaler(with_std=False)],
        [preprocessing.MinMaxScaler(), "passthrough", preprocessing.StandardScaler()],
    ],
    ids=["standard", "minmax", "no-std", "both"],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("classes", [2, 3])
def test_pipelines_agree(scalers: list[Any], offset: float, classes: int) -> None:
    x, y = data(classes)
    x = (x * np.float32([1, 2, 3, 4, 5, 6, 0.01]) + np.float32(offset)).astype(np.float32)
    estimator = pipeline.make_pipeline(*scalers, linear_model.LogisticRegression()).fit(x.astype(np.float64), y)
    check_agrees(eb.from_sklearn(estimator), estimator, x, estimator.decision_function(x.astype(np.float64)))


def test_a_scaler_that_does_not_centre_agrees() -> None:
    x, y = data(3)
    scaler = preprocessing.StandardScaler(with_mean=False)
    estimator = pipeline.make_pipeline(scaler, linear_model.LogisticRegression()).fit(x.astype(np.float64), y)
    check_agrees(eb.from_sklearn(estimator), estimator, x, estimator.decision_function(x.astype(np.float64)))


def test_a_scaler_near_zero_costs_no_layer_and_one_far_away_costs_one() -> None:
    x, y = data(3)
    for offset, layers in ((0.0, 1), (1e3, 2)):
        estimator = pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression())
        assert len(eb.from_sklearn(estimator.fit(x + np.float32(offset), y)).layers) == layers


def test_a_scaled_quadratic_discriminant_agrees() -> None:
    x, y = data(3)
    last = discriminant_analysis.QuadraticDiscriminantAnalysis(reg_param=0.01)
    estimator = pipeline.make_pipeline(preprocessing.StandardScaler(), last).fit(x.astype(np.float64), y)
    np.testing.assert_array_equal(eb.from_sklearn(estimator).predict(x), estimator.predict(x))


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf", "sigmoid"])
def test_support_vector_machines_agree(kernel: str, classes: int, scaled: bool) -> None:
    x, y = data(classes)
    for machine in (
        svm.SVC(kernel=kernel, coef0=0.5, break_ties=True),
        svm.NuSVC(nu=0.1, kernel=kernel, break_ties=True),
    ):
        chain = [preprocessing.StandardScaler(), machine] if scaled else [machine]
        estimator = pipeline.make_pipeline(*chain).fit(x.astype(np.float64), y)
        check_agrees(eb.from_sklearn(estimator), estimator, x, estimator.decision_function(x.astype(np.float64)))


def test_class_k_is_the_estimators_class_k() -> None:
    x, y = data(3)
    names = np.array(["ant", "bee", "cat"])
    estimator = linear_model.LogisticRegression().fit(x, names[y])
    np.testing.assert_array_equal(names[eb.from_sklearn(estimator).predict(x)], estimator.predict(x))
    sparse = np.array([-7, 3, 1000])
    estimator = linear_model.LogisticRegression().fit(x, sparse[y])
    np.testing.assert_array_equal(sparse[eb.from_sklearn(estimator).predict(x)], estimator.predict(x))


def test_a_model_from_sklearn_can_be_attacked_trained_and_saved(tmp_path: Any) -> None:
    x, y = data(3)
    x = (x - x.min()) / (x.max() - x.min())
    model = eb.from_sklearn(svm.LinearSVC().fit(x, y))
    before = (model.predict(x) == y).mean()
    x_adv = eb.pgd(model, x, y, eps=0.1, loss="margin")
    assert (model.predict(x_adv) == y).mean() < before - 0.2
    eb.fit(model, x, y, loss="hinge", epochs=1)
    model.save(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(eb.load(tmp_path / "m.safetensors")(x), model(x))


def test_digits_of_a_real_data_set_agree() -> None:
    x, y = datasets.load_digits(return_X_y=True)
    x = x.astype(np.float32)
    for last in (linear_model.SGDClassifier(random_state=0), naive_bayes.GaussianNB()):
        estimator = pipeline.make_pipeline(preprocessing.StandardScaler(), last).fit(x.astype(np.float64), y)
        np.testing.assert_array_equal(eb.from_sklearn(estimator).predict(x), estimator.predict(x.astype(np.float64)))


SMOOTH = {
    "logistic": lambda: linear_model.LogisticRegression(),
    "linear-svc": lambda: svm.LinearSVC(),
    "mlp-tanh": lambda: neural_network.MLPClassifier((9, 8), activation="tanh", max_iter=30, random_state=0),
    "naive-bayes": lambda: naive_bayes.GaussianNB(),
    "scaled-qda": lambda: pipeline.make_pipeline(
        preprocessing.StandardScaler(), discriminant_analysis.QuadraticDiscriminantAnalysis(reg_param=0.01)
    ),
    "scaled-logistic": lambda: pipeline.make_pipeline(preprocessing.MinMaxScaler(), linear_model.LogisticRegression()),
    **{f"svc-{kernel}": lambda kernel=kernel: svm.SVC(kernel=kernel, coef0=0.5, break_ties=True)
       for kernel in ("linear", "poly", "rbf", "sigmoid")},
}  # fmt: skip


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_input_gradients_are_the_slopes_of_the_estimators_own_scores(name: str, classes: int) -> None:
    """Differences between classes: log probabilities and logits differ by a number of the row."""
    x, y = data(classes)
    estimator = SMOOTH[name]().fit(x.astype(np.float64), y)
    model = eb.from_sklearn(estimator)
    scores = estimator.decision_function if hasattr(estimator, "decision_function") else estimator.predict_log_proba

    def differences(x: np.ndarray) -> np.ndarray:
        z = scores(x).reshape(len(x), -1)
        return z if z.shape[1] == 1 else z[:, 1:] - z[:, :1]

    x, step = x[:40].astype(np.float64), 1e-5
    wanted = np.stack(
        [(differences(x + step * e) - differences(x - step * e)) / (2 * step) for e in np.eye(x.shape[1])], axis=-1
    )
    ours = np.asarray(model.jacobian(x.astype(np.float32)), np.float64)
    ours = ours if len(ours[0]) == 1 else ours[:, 1:] - ours[:, :1]
    assert np.abs(ours - wanted).max() <= CLOSE * np.abs(wanted).max()


# ---- errors

X, Y = data(3, rows=60)
UNSUPPORTED = {
    "LinearRegression": lambda: linear_model.LinearRegression().fit(X, Y),
    "MinMaxScaler with clip=True": lambda: pipeline.make_pipeline(
        preprocessing.MinMaxScaler(clip=True), linear_model.LogisticRegression()
    ).fit(X, Y),
    "PolynomialFeatures": lambda: pipeline.make_pipeline(
        preprocessing.PolynomialFeatures(), linear_model.LogisticRegression()
    ).fit(X, Y),
    "SGDClassifier with sparse": lambda: linear_model.SGDClassifier().fit(X, Y).sparsify(),
    "MLPClassifier with several labels": lambda: neural_network.MLPClassifier(max_iter=500, tol=1).fit(
        X, np.eye(3)[Y] > 0
    ),
    "RidgeClassifier with several labels": lambda: linear_model.RidgeClassifier().fit(X, np.eye(3, dtype=int)[Y]),
    "RandomForestClassifier with several outputs": lambda: ensemble.RandomForestClassifier(2).fit(X, np.c_[Y, Y]),
    "RandomForestClassifier behind a StandardScaler": lambda: pipeline.make_pipeline(
        preprocessing.StandardScaler(), ensemble.RandomForestClassifier(2)
    ).fit(X, Y),
    "KNeighborsClassifier with the metric 'manhattan'": lambda: neighbors.KNeighborsClassifier(p=1).fit(X, Y),
    "GradientBoostingClassifier with init": lambda: ensemble.GradientBoostingClassifier(
        n_estimators=1, init=linear_model.LogisticRegression()
    ).fit(X, Y),
    "GaussianNB with a class of prior probability 0": lambda: naive_bayes.GaussianNB(priors=[0.5, 0.5, 0]).fit(X, Y),
    "SVC with the kernel": lambda: svm.SVC(kernel=lambda a, b: a @ b.T).fit(X, Y),
    "without steps": lambda: pipeline.Pipeline([("nothing", "passthrough")]),
}


@pytest.mark.parametrize("named", UNSUPPORTED)
@pytest.mark.filterwarnings("ignore")
def test_what_has_no_counterpart_is_named(named: str) -> None:
    with pytest.raises(ValueError, match=r"^estimator: ") as caught:
        eb.from_sklearn(UNSUPPORTED[named]())
    assert named in str(caught.value)


def test_a_subclass_is_not_taken_for_its_parent() -> None:
    class Own(linear_model.LogisticRegression):
        def decision_function(self, x: Any) -> Any:
            return -super().decision_function(x)

    with pytest.raises(ValueError, match=r"^estimator: Own "):
        eb.from_sklearn(Own().fit(X, Y))


@pytest.mark.parametrize(
    "estimator",
    [
        linear_model.LogisticRegression(),
        ensemble.RandomForestClassifier(),
        neighbors.KNeighborsClassifier(),
        pipeline.make_pipeline(preprocessing.StandardScaler(), svm.LinearSVC()),
    ],
    ids=lambda e: type(e).__name__,
)
def test_an_estimator_that_is_not_fitted_is_named(estimator: Any) -> None:
    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    with pytest.raises(ValueError, match=rf"^estimator: wanted a fitted {type(last).__name__}"):
        eb.from_sklearn(estimator)


@pytest.mark.parametrize("thing", [None, 3, "svm", linear_model.LogisticRegression], ids=str)
def test_what_is_no_estimator_is_a_type_error(thing: Any) -> None:
    with pytest.raises(TypeError, match=r"^estimator: wanted a scikit-learn estimator"):
        eb.from_sklearn(thing)
