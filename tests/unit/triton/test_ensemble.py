"""Steps before and after the plan."""

import pytest
from plan_values import plan, proof

from trtbuild.errors import SpecError
from trtbuild.triton import package
from trtbuild.triton.checks import Premises, problems
from trtbuild.triton.messages import read_text

STEP = "class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"
TEXT = {"dtype": "string", "shape": ["batch", 1]}
BEFORE = {"file": "pre.py", "inputs": {"text": TEXT}, "outputs": {"x": None}, "instances": 2, "parameters": {"k": "v"}}
AFTER = {"file": "post.py", "inputs": {"y": None}, "outputs": {"label": TEXT}}


def made(folder, **settings):
    for name in ("pre.py", "post.py"):
        (folder / name).write_text(STEP)
    return package([plan(folder)], [proof()], folder / "out", name="net", folder=folder, **settings)


def configs(done):
    found = {name.partition("/")[0]: f for name, f in done.beside.items() if name.endswith("config.pbtxt")}
    return {name: read_text(f.path.read_text(), name) for name, f in found.items()}


def flow(config):
    return [(s.model_name, dict(s.input_map), dict(s.output_map)) for s in config.ensemble_scheduling.step]


def names(field):
    return [t.name for t in field]


def test_without_a_step_there_is_no_ensemble(tmp_path):
    done = made(tmp_path)
    assert (done.beside, done.calls) == ({}, "net")


def test_three_models_and_their_ensemble(tmp_path):
    done = made(tmp_path, preprocess=BEFORE, postprocess=AFTER, release="25.12", max_inflight_requests=4)
    assert done.calls == "net_ensemble"
    assert {n for n in done.beside if not n.endswith("config.pbtxt")} == {
        "net_preprocess/1/model.py", "net_postprocess/1/model.py", "net_ensemble/1/about.txt",
    }  # fmt: skip
    found = configs(done)
    joined = found["net_ensemble"]
    assert flow(joined) == [
        ("net_preprocess", {"text": "text"}, {"x": "x"}),
        ("net", {"x": "x"}, {"y": "y"}),
        ("net_postprocess", {"y": "y"}, {"label": "label"}),
    ]
    assert (names(joined.input), names(joined.output)) == (["text"], ["label"])
    assert (joined.platform, joined.max_batch_size, joined.ensemble_scheduling.max_inflight_requests) == (
        "ensemble",
        32,
        4,
    )
    before = found["net_preprocess"]
    assert (before.backend, before.max_batch_size, before.instance_group[0].count) == ("python", 32, 2)
    assert [(t.name, t.data_type, list(t.dims)) for t in (*before.input, *before.output)] == [
        ("text", 13, [1]),
        ("x", 11, [3, -1]),
    ]
    assert before.parameters["k"].string_value == "v"


def test_what_no_step_takes_or_makes_is_the_ensembles(tmp_path):
    after = {**AFTER, "inputs": {"y": None, "text": None}}
    found = configs(made(tmp_path, postprocess={**after, "inputs": {"y": None, "x": None}}))["net_ensemble"]
    assert (names(found.input), names(found.output)) == (["x"], ["label"])
    assert flow(found)[1] == ("net_postprocess", {"y": "y", "x": "x"}, {"label": "label"})
    found = configs(made(tmp_path, preprocess=BEFORE))["net_ensemble"]
    assert (names(found.input), names(found.output)) == (["text"], ["y"])


def test_a_step_hands_more_than_the_plan_takes_to_the_step_after(tmp_path):
    scale = {"dtype": "float32", "shape": ["batch", 2]}
    before = {**BEFORE, "outputs": {"x": None, "scale": scale}}
    after = {**AFTER, "inputs": {"y": None, "scale": None}}
    found = configs(made(tmp_path, preprocess=before, postprocess=after))
    assert flow(found["net_ensemble"])[2][1] == {"y": "y", "scale": "scale"}
    assert names(found["net_ensemble"].input) == ["text"]
    assert list(found["net_postprocess"].input[1].dims) == [2]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"preprocess": {**BEFORE, "file": "none.py"}}, "there is no file"),
        ({"preprocess": {**BEFORE, "file": "empty.py"}}, "no class TritonPythonModel"),
        ({"preprocess": {**BEFORE, "file": "broken.py"}}, "is not Python"),
        ({"preprocess": {**BEFORE, "outputs": {"q": None}}}, "nothing says what 'q' is"),
        ({"preprocess": {**BEFORE, "inputs": {"text": None}}}, "nothing says what 'text' is"),
        ({"preprocess": {**BEFORE, "inputs": {"text": {"dtype": "string", "shape": [1]}}}}, "begin with the batch axis"),
        ({"preprocess": {**BEFORE, "outputs": {"x": {"dtype": "int64", "shape": ["batch", 3, "h"]}}}}, "net takes 'x' as float32"),
        ({"postprocess": {**AFTER, "outputs": {"y": TEXT}}}, "net_postprocess/config.pbtxt: tensor 'y'"),
        ({"postprocess": {**AFTER, "inputs": {"x": None}, "outputs": {"y": TEXT}}}, "makes 'y', which is there before it"),
        ({"preprocess": {**BEFORE, "outputs": {}}}, "at least 1"),
        ({"preprocess": {"file": "pre.py"}}, "missing"),
    ],
)  # fmt: skip
def test_a_step_that_does_not_join_is_refused(tmp_path, settings, words):
    (tmp_path / "empty.py").write_text("class Model:\n    pass\n")
    (tmp_path / "broken.py").write_text("class (")
    with pytest.raises(SpecError) as caught:
        made(tmp_path, **settings)
    assert words in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda c: c.instance_group.add(count=1), "runs nothing itself"),
        (lambda c: c.optimization.SetInParent(), "runs nothing itself"),
        (lambda c: c.ensemble_scheduling.ClearField("step"), "there is no step"),
        (lambda c: c.ensemble_scheduling.step[0].ClearField("model_name"), "lacks a model"),
        (lambda c: c.ensemble_scheduling.step[1].output_map.update({"y": "x"}), "made more than once"),
        (lambda c: c.ensemble_scheduling.step[0].output_map.update({"more": "more"}), "nothing uses it"),
        (lambda c: c.ensemble_scheduling.step[0].input_map.update({"text": "y"}), "nothing makes it in time"),
        (lambda c: setattr(c.output[0], "name", "nothing"), "no step makes it"),
        (lambda c: c.ClearField("ensemble_scheduling"), "go together"),
    ],
)  # fmt: skip
def test_a_fault_in_an_ensemble_is_found(tmp_path, edit, words):
    config = configs(made(tmp_path, preprocess=BEFORE, postprocess=AFTER))["net_ensemble"]
    assert problems(config, Premises("net_ensemble")) == []
    edit(config)
    assert words in " ".join(p.message for p in problems(config, Premises("net_ensemble")))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda c: setattr(c.ensemble_scheduling.step[0], "model_name", "net_pre"), "has no model 'net_pre'"),
        (lambda c: c.ensemble_scheduling.step[0].input_map.update({"words": "text"}), "has no tensor 'words' to map"),
        (lambda c: c.ensemble_scheduling.step[1].input_map.clear(), "nothing is mapped onto the input 'x' of net"),
        (lambda c: setattr(c, "max_batch_size", 64), "64 is more than net_preprocess takes"),
        (lambda c: setattr(c.input[0], "data_type", 11), "of another type in net_preprocess"),
    ],
)
def test_a_fault_between_an_ensemble_and_its_models_is_found(tmp_path, edit, words):
    done = made(tmp_path, preprocess=BEFORE, postprocess=AFTER)
    others = configs(done)
    others["net"] = read_text(done.files["config.pbtxt"].path.read_text(), "net")
    config = others["net_ensemble"]
    assert problems(config, Premises("net_ensemble", others=others)) == []
    edit(config)
    assert words in " ".join(p.message for p in problems(config, Premises("net_ensemble", others=others)))
