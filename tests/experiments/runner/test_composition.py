"""Tests of the command line's check, which runs before anything else and imports nothing heavy."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import get_class

import hntk
from experiments.asymptotics import mixtures, spectrum_theory
from experiments.asymptotics import settings as theory_settings
from experiments.runner import catalog, composition, config, launching
from experiments.runner.command_line import as_sweep, expand_tiny
from experiments.runner.composition import CONF, check
from experiments.runner.refusals import SettingError
from experiments.shipping import microcontrollers
from experiments.shipping import settings as shipping_settings
from hntk.asymptotics.kernel_parameters import KernelName
from hntk.data.dataset import Scaling
from hntk.deploy.c_choice import Goal
from hntk.deploy.c_values import Layout
from hntk.kernels.exact import Engine
from hntk.matching import match
from hntk.theory.architecture import Normalize
from hntk.theory.equivalents import Identity
from tests.support.command_line import ROOT, composed, run

HEAVY = ("jax", "hntk", "matplotlib", "wandb", "scipy", "numpy")


@pytest.fixture(autouse=True)
def _settings() -> None:
    catalog.register()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["+exp=ship", "experiment.readot=ridge"],
         ["experiment.readot=ridge", "Key 'readot' not in 'ShipExperiment'", "Did you mean experiment.readout or"]),
        (["+exp=memory", "readout=ridge"], ["Key 'readout' not in 'Config'"]),
        (["+exp=memory", "experiment.readout=a,b"], ["Key 'readout' not in 'MemoryExperiment'"]),
        (["+exp=gmm", "sed=1"], ["Key 'sed' not in 'Config'", "Did you mean seed"]),
        (["+exp=gmm", "spikes=1"], ["Did you mean experiment.spikes or compress.samples?"]),
        (["+exp=gmm", "+experiment.spkies=1"], ["Key 'spkies' not in 'GmmExperiment'", "experiment.spikes"]),
        (["+exp=gmm", "++net.widht=1"], ["Key 'widht' not in 'NetConfig'", "net.widths"]),
        (["+expp=gmm"], ["Key 'expp' not in 'Config'", "Did you mean +exp?"]),
        (["+exp=gmm", "hydra.swep.dir=x"], ["hydra.sweep"]),
        (["+exp=gmn"], ["exp=gmn", "Did you mean gmm?", "microcontroller"]),
        (["+exp=gmm", "net=relu4"], ["Did you mean relu3?", "erf3, he, relu3"]),
        (["+exp=gmm", "hydra/launcher=core"], ["Did you mean cores?", "cluster"]),
        (["+exp=memory", "arm=dense,levels"], ["arm=levels", "levels2"]),
        (["+exp=gmm", "compress.sparsity=many"], ["compress.sparsity=many: it must be a number"]),
        (["+exp=gmm", "seed=one"], ["seed=one: it must be a whole number"]),
        (["+exp=gmm", "net.widths=3"], ["it must be a list"]),
        (["+exp=gmm", "compress.kernel=ck"], ["compress.kernel=ck", "alpha, beta, both"]),
        (["+exp=million", "experiment.kernel=nkt"], ["experiment.kernel=nkt", "ck, ntk", "Did you mean ntk?"]),
        (["+exp=mnist", "experiment.objectives=[theory,dta]"], ["experiment.objectives=dta", "theory, data"]),
        (["+exp=mnist", "data.normalize=scaled"], ["scale, unit_norm, whiten"]),
        (["+exp=spectrum_theory", "experiment.cases=[round/relu]"], ["round/relu", "structured/staircase"]),
        (["+exp=gmm", "net.activations=[rleu]"], ["net.activations=rleu", "Did you mean relu?"]),
        (["+exp=gmm", "net.activations=[{name:lekay_relu,slope:0.1}]"], ["Did you mean leaky_relu?"]),
        (["+exp=gmm", "wandb.mode=of"], ["offline, online, disabled"]),
        (["+exp=gmm", "seed=0,1"], ["these are 2 values", "-m", "[0,1]"]),
        (["+exp=gmm", "seed=["], ["seed=[", "NAME=VALUE"]),
        (["+exp=memory", "seed=0,1,two"], ["seed=two"]),
        (["+exp=memory", "compress.objective=theory,dat"], ["compress.objective=dat"]),
        (["+exp=frontier", "arm=choice(levels2,levels9)"], ["arm=levels9"]),
        (["+exp=gmm", "kernels.engine=nativ"], ["native, neural_tangents", "Did you mean native?"]),
        (["+exp=gmm", "net.weight_std=[1,two,1]"], ["net.weight_std=[1, 'two', 1]", "a number, or a list of numbers"]),
        (["+exp=gmm", "net.normalize=batch"], ["net.normalize=batch", "rms, layer"]),
        (["+exp=store", "kernels=neural_tangents"], ["kernels.engine=neural_tangents", "written tile by tile"]),
        (["+exp=fetch", "kernels.engine=neural_tangents"], ["+exp=fetch", "it computes no kernels"]),
        (["+exp=solver", "net=he"],
         ["net.weight_std=1.41421, net.bias_std=0.1, net.centred=false", "drawn at random", "net=relu3"]),
        (["+exp=memory", "net.residual=[0,0.5,0.5]"], ["net.residual=[0,0.5,0.5]", "its arms are plain"]),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused_with_the_known_ones(words: list[str], told: list[str]) -> None:
    if words[0] == "+exp=frontier":
        pytest.importorskip("optuna")
    with pytest.raises(SettingError) as error:
        check(as_sweep(words))
    for part in told:
        assert part in str(error.value)
    assert "multirun" not in str(error.value)
    assert "use +" not in str(error.value)


@pytest.mark.parametrize(
    "words",
    [
        ["net.activations=[{name:leaky_relu,slope:0.1}]"], ["+hydra.job.env_set.A=1"], ["compress.levels=paper"],
        ["compress.levels=[2,3,4]"], ["compress.levels=5", "compress.method=null"], ["wandb=online"],
        ["~compress.bits"], ["net=he", "net.weight_std=[1.4,1,1]"], ["kernels=neural_tangents"],
    ],
)  # fmt: skip
def test_right_settings_pass(words: list[str]) -> None:
    assert check(["+exp=gmm", *words]).experiment.name == "gmm"


def test_a_network_that_an_experiment_cannot_take_is_refused_for_that_experiment_alone() -> None:
    check(["+exp=gmm,solver", "net=relu3"], multirun=True)
    with pytest.raises(SettingError, match=r"\+exp=solver takes plain networks alone .*\(with \+exp=solver, net=he\)"):
        check(["+exp=gmm,solver", "net=relu3,he"], multirun=True)


def test_experiments_use_what_they_do_not_refuse() -> None:
    """An engine or a network that is neither refused nor read would be ignored silently."""
    for experiment in catalog.EXPERIMENTS:
        source = (ROOT / f"{experiment.module.replace('.', '/')}.py").read_text()
        assert bool(experiment.native_only) != ("engine_of(cfg)" in source), experiment.name
        assert bool(experiment.plain_only) != ("network(cfg.net" in source), experiment.name


def test_a_sweep_over_experiments_says_which_lacks_a_setting() -> None:
    with pytest.raises(SettingError, match=r"'spikes' not in 'LevelsExperiment'.*\(with \+exp=levels\)"):
        check(["+exp=gmm,levels", "experiment.spikes=2"], multirun=True)


def test_nine_hundred_jobs_are_checked_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    composed = []

    def counted(*arguments: Any, **options: Any) -> Any:
        composed.append(options["overrides"])
        return compose(*arguments, **options)

    monkeypatch.setattr(composition, "compose", counted)
    start = time.process_time()
    check(as_sweep(["+exp=memory"]))
    # composing every job would take a minute
    assert time.process_time() - start < 20
    # the first configuration, and one for each arm
    assert len(composed) == 1 + 22


def test_a_sweep_starts_without_a_second_check() -> None:
    launching.register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=["+exp=memory"], return_hydra_config=True)
    assert get_class(cfg.hydra.sweeper._target_) is launching.Grid
    # even a batch that does not compose passes
    launching.Grid(max_batch_size=None).validate_batch_is_legal([["no.such=setting"]])


def test_closed_sets_are_those_of_the_library() -> None:
    assert list(config.ACTIVATIONS) == hntk.activation_names()
    assert get_args(KernelName) == config.KERNELS
    assert get_args(Scaling) == config.SCALINGS
    assert get_args(Engine) == config.ENGINES
    assert get_args(Normalize) == config.NORMALIZATIONS
    plain = {f.name: f.default for f in dataclasses.fields(hntk.Architecture)}
    # experiments have no implicit networks but those of +exp=architectures
    plain = {name: plain[name] for name in plain.keys() - {"activations", "implicit", "input_std"}}
    assert plain == config.PLAIN_NET
    assert get_args(Identity) == config.IDENTITIES
    for mine, theirs in (
        (config.METHODS, "Method"),
        (config.COEFFICIENTS, "Kernel"),
        (config.OBJECTIVES, "Objective"),
    ):
        assert mine == get_args(getattr(sys.modules[match.__module__], theirs))
    assert set(theory_settings.MIXTURES) == set(mixtures.CAPTIONS)
    assert set(theory_settings.NETS) == set(spectrum_theory.NETS)
    assert tuple(microcontrollers.DEVICES) == shipping_settings.DEVICES
    # +exp=devices has no orthogonal blocks, which transforms are for
    assert set(shipping_settings.C_LAYOUTS) == {*get_args(Goal), *get_args(Layout)} - {"transform"}
    for law in config.LAWS:
        assert hntk.weight_law(law).name == law


def test_tiny_wins_over_the_experiment_and_the_user_over_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HNTK_DATA", raising=False)
    plain = composed("+exp=gmm")
    for words in (("+exp=gmm", "+debug=tiny"), ("+debug=tiny", "+exp=gmm")):
        tiny = composed(*words)
        assert tiny.net.widths != plain.net.widths
        assert tiny.experiment.spikes == 1
        assert tiny.wandb.mode == "disabled"
    own = composed("+debug=tiny", "+exp=gmm", "net.widths=[7,8,9]", "wandb=offline", "experiment.spikes=3")
    assert (own.net.widths, own.wandb.mode, own.experiment.spikes) == ([7, 8, 9], "offline", 3)


def test_tiny_sets_nothing_that_files_of_a_group_are_chosen_for() -> None:
    """Tiny settings come after compress=paper, net=erf3 or data=mnist, and would undo the user's choice."""
    chosen = {
        "compress": {"levels"},
        "net": {"activations", *config.PLAIN_NET},
        "kernels": {"engine"},
        "data": {"name", "kind"},
        "wandb": {"mode"},
    }
    shared = yaml.safe_load((ROOT / "conf" / "debug" / "tiny.yaml").read_text())
    for tiny in (shared, *(experiment.tiny for experiment in catalog.EXPERIMENTS)):
        for group, names in chosen.items():
            assert not names & set(tiny.get(group) or {}), tiny


def test_data_that_is_not_there_is_stood_in_for_unless_a_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HNTK_DATA", raising=False)
    words, told = expand_tiny(["+exp=mnist", "data=mnist", "+debug=tiny"])
    assert words[-1] == "data=stand_in"
    assert "data=mnist" not in words
    assert "synthetic" in told
    assert "HNTK_DATA" in told
    for given in (["+exp=mnist", "+debug=tiny", "data.folder=x"], ["+exp=gmm", "+debug=tiny"], ["+exp=mnist"]):
        words, told = expand_tiny(given)
        assert "data=stand_in" not in words
        assert not told
    monkeypatch.setenv("HNTK_DATA", "x")
    assert "data=stand_in" not in expand_tiny(["+exp=mnist", "+debug=tiny"])[0]


def test_tiny_takes_one_experiment_at_a_time() -> None:
    with pytest.raises(SettingError, match="one experiment at a time"):
        expand_tiny(["+exp=gmm,levels", "+debug=tiny"])


def imported(*words: str) -> tuple[set[str], str]:
    """Return the heavy modules that a command imports, and its output."""
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "experiments.run", *words], cwd=ROOT, capture_output=True, text=True
    )
    names = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines() if line.startswith("import time")}
    told = "\n".join(line for line in result.stderr.splitlines() if not line.startswith("import time"))
    return {name for name in names if name in HEAVY}, told + result.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "+exp=microcontroller"),
        pytest.param(["seed=1"], "+exp=NAME", marks=pytest.mark.nightly),
        (["--help"], "== Configuration groups =="),
        (["+exp=gmm", "--cfg", "job"], "finite_width: true"),
        pytest.param(["+exp=gmm", "--info", "searchpath"], "conf", marks=pytest.mark.nightly),
        (["+exp=gmm", "experiment.spkies=1"], "experiment.spikes"),
        pytest.param(["+exp=gmm", "experiment.spkies=1", "--cfg", "job"], "spikes", marks=pytest.mark.nightly),
        (["-m", "+exp=gmm", "seed=0,x"], "seed=x"),
    ],
)  # fmt: skip
def test_answers_and_refusals_import_nothing_heavy(words: list[str], told: str) -> None:
    heavy, printed = imported(*words)
    assert not heavy
    assert told in printed


def test_the_list_has_every_experiment() -> None:
    listing = run().stdout
    for experiment in catalog.EXPERIMENTS:
        assert f"python -m experiments.run +exp={experiment.name}" in listing


def test_a_refusal_leaves_no_folder_and_says_the_cause(tmp_path: Path) -> None:
    places = (f"hydra.run.dir={tmp_path / 'run'}", f"hydra.sweep.dir={tmp_path / 'sweep'}", f"sweep.store={tmp_path}")
    for words in (["+exp=memory", "experiment.readout=ridge"], ["-m", "+exp=million", "experiment.kernel=ck,nkt"]):
        result = run(*words, *places)
        assert result.returncode == 2
        assert "error" in result.stderr
        assert "Traceback" not in result.stderr
        assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_with_the_extra_that_brings_it() -> None:
    hidden = "import sys; sys.modules['hydra'] = None; import runpy; runpy.run_module('experiments.run')"
    done = subprocess.run([sys.executable, "-c", hidden], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "error: experiments need hydra: make setup, or python -m pip install '.[experiments]'.\n"
    )  # fmt: skip
