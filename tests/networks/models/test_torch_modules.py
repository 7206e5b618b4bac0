"""Modules of PyTorch against themselves."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from tests.support.models import X, assert_refused, assert_scores

torch: Any = pytest.importorskip("torch")
nn, functional = torch.nn, torch.nn.functional
pytestmark = [pytest.mark.nightly, pytest.mark.filterwarnings("ignore")]
SAMPLES = torch.tensor(X, dtype=torch.float32)


def outputs(model: Any) -> np.ndarray:
    with torch.no_grad():
        return model(SAMPLES).numpy()


def made(seed: int = 0) -> None:
    torch.manual_seed(seed)


class Custom(nn.Module):
    """A module with a forward function of its own: functional activations, normalisation, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(5, 8), nn.Linear(8, 6, bias=False), nn.Linear(6, 3)
        self.bn0, self.bn1, self.bn2 = nn.BatchNorm1d(5), nn.BatchNorm1d(8), nn.BatchNorm1d(6)
        self.drop = nn.Dropout(0.3)
        self.shift = nn.Parameter(torch.randn(8))

    def scores(self, x: Any) -> Any:
        x = self.bn0(x.view(x.size(0), -1))
        h = functional.relu(self.bn1(self.fc1(x) + self.shift))
        h = functional.gelu(self.fc2(self.drop(h)), approximate="tanh")
        return self.fc3(functional.dropout(self.bn2(h), 0.2, self.training))

    def forward(self, x: Any) -> Any:
        return functional.log_softmax(self.scores(x), dim=1)


class Gated(nn.Module):
    """A SiLU written out, and one score through a sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(5, 8), nn.Linear(8, 1)

    def forward(self, x: Any) -> Any:
        h = self.fc1(x)
        return torch.sigmoid(self.fc2(h * torch.sigmoid(h))).squeeze(-1)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Any) -> Any:
        h = torch.relu(self.fc1(x))
        return self.fc3(h + torch.relu(self.fc2(h)))


class Joined(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(16, 3)

    def forward(self, x: Any) -> Any:
        h = torch.relu(self.fc1(x))
        return self.fc3(torch.cat([h, self.fc2(h)], dim=1))


class Averaged(nn.Module):
    def forward(self, x: Any) -> Any:
        return x - x.mean(dim=1, keepdim=True)


class Conditional(nn.Module):
    def forward(self, x: Any) -> Any:
        return x if x.sum() > 0 else -x


class Wave(nn.Module):
    def forward(self, x: Any) -> Any:
        return torch.atan(x) + x


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (nn.ReLU(inplace=True), "relu"),
        (nn.Tanh(), "tanh"),
        (nn.GELU(), "gelu"),
        (nn.GELU("tanh"), "gelu_tanh"),
        (nn.SiLU(), "silu"),
        (nn.ELU(0.3), "elu(0.3)"),
        (nn.CELU(2.0), "celu(2)"),
        (nn.SELU(), "selu"),
        (nn.LeakyReLU(0.2), "leaky_relu(0.2)"),
        (nn.PReLU(), "leaky_relu(0.25)"),
        (nn.Softplus(2.0), "softplus(2)"),
        (nn.Hardtanh(-2, 3), "ramp(1, 0, -2, 3)"),
        (nn.Hardsigmoid(), "ramp(0.166667, 0.5, 0, 1)"),
        (nn.Hardswish(), "hard_swish"),
        (nn.Mish(), "mish"),
        (nn.Softsign(), "softsign"),
        (nn.Sigmoid(), "sigmoid"),
        (nn.Identity(), "linear"),
    ],
)
def test_sequential_models_of_every_activation(module: Any, name: str) -> None:
    made()
    model = nn.Sequential(nn.Flatten(), nn.Linear(5, 8), module, nn.Dropout(0.5), nn.Linear(8, 3)).eval()
    found = hntk.from_model(model, x=X)
    assert found.network.activations[0].name == name
    assert_scores(found, outputs(model))


def test_forward_functions_of_a_models_own_are_followed() -> None:
    made()
    model = Custom()
    for _ in range(3):
        model(3 * SAMPLES + 1)
    assert_refused(model, "'bn0'", r"model\.eval")
    model.eval()
    found = hntk.from_model(model, x=X)
    with torch.no_grad():
        assert_scores(found, model.scores(SAMPLES).numpy())


def test_one_score_through_a_sigmoid_stands_for_two_classes() -> None:
    made()
    model = Gated()
    found = hntk.from_model(model, x=X, classes=["no", "yes"])
    shares = outputs(model)
    assert_scores(found, np.log(shares / (1 - shares)))
    assert found.network.activations[0].name == "silu"
    assert (found.predict(X) == "yes").tolist() == (shares > 0.5).tolist()


def test_dense_layers_side_by_side_weight_norm_and_models_that_end_in_a_function() -> None:
    made()
    norm = torch.nn.utils.parametrizations.weight_norm(nn.Linear(5, 8))
    model = nn.Sequential(norm, nn.Linear(8, 8), nn.Tanh(), nn.BatchNorm1d(8)).eval()
    assert_scores(hntk.from_model(model, x=X), outputs(model))


def test_given_activations() -> None:
    made()
    model = nn.Sequential(nn.Linear(5, 8), Wave(), nn.Linear(8, 3))
    assert_refused(model, "'add'", "activations=")
    own = hntk.activation(lambda t: jnp.arctan(t) + t)
    assert_scores(hntk.from_model(model, activations={"add": own}), outputs(model))
    assert_refused(model, "'add'", "other values", activations={"add": "tanh"})
    assert_refused(model, "names", activations={"relu": "relu"})


def linear(*middle: Any) -> Any:
    return nn.Sequential(nn.Linear(5, 8), *middle, nn.Linear(8, 3))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2)), ["'0'", "Conv2d"]),
        (linear(nn.ReLU(), nn.LayerNorm(8)), ["'2'", "LayerNorm"]),
        (linear(nn.TransformerEncoderLayer(8, 2)), ["'1'", "TransformerEncoderLayer"]),
        (linear(nn.Dropout(0.5)), ["'1'", "training", "eval"]),
        (linear(nn.BatchNorm1d(8)), ["'1'", "each batch", "eval"]),
        (linear(nn.BatchNorm1d(8, track_running_stats=False)).eval(), ["'1'", "each batch"]),
        (linear(nn.PReLU(8)), ["'1'", "each neuron"]),
        (linear(nn.Softmax(dim=-1)), ["softmax"]),
        (linear(nn.Hardshrink(0.5)), ["'1'", "none that hntk knows"]),
        (nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(9, 3)), ["'2'", "takes 9 inputs"]),
        (linear(nn.ReLU()).half(), ["'0'", "float16", r"float\(\)"]),
        (nn.Sequential(nn.Linear(5, 3)), ["no hidden"]),
        (Residual(), ["'add'", "residual"]),
        (Joined(), ["'cat'", "of a list"]),
        (linear(Averaged()), ["'mean'", "computes 'mean'"]),
        (linear(nn.ReLU(), nn.Softmax(dim=0)), ["'2'", "dimension 0"]),
        (Conditional(), ["cannot follow", "Conditional", "onnx"]),
        (nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, 3)), ["'0'", "no parameters yet"]),
        (linear(nn.Flatten(0)), ["'1'", "mixes samples"]),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(model: Any, words: list[str]) -> None:
    assert_refused(model, *words)


def test_parameters_that_are_not_finite_and_hooks_are_refused() -> None:
    model = linear(nn.ReLU())
    model[2].weight.data[0, 0] = float("nan")
    assert_refused(model, "'2'", "finite")
    hooked = linear(nn.ReLU())
    hooked[1].register_forward_hook(lambda module, given, output: 2 * output)
    assert_refused(hooked, "'1'", "hooks")


def test_samples_that_the_model_cannot_take_are_an_error_of_x() -> None:
    assert_refused(linear(nn.ReLU()).eval(), "the model fails on x", "shape", x=X[:, :3])
