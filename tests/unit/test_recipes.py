import plan_values
import pytest

from trtbuild.artifacts import StoredFile, Target, TypedOnnx
from trtbuild.device import Gpu
from trtbuild.recipes import engines
from trtbuild.recipes.engines import _folder_names, _toolchain_of
from trtbuild.spec import Spec

RTX = Target("rtx4090", "tensorrt_rtx", "8.9")


class Asked:
    """Takes no stage, and keeps what would be its key."""

    def __init__(self, plan):
        self.plan, self.keys = plan, []

    def take(self, _name, _kind, recipe, _make, _say):
        self.keys.append(recipe().key)
        return self.plan


@pytest.fixture
def key_of(tmp_path):
    plan = plan_values.plan(tmp_path)
    typed = TypedOnnx(StoredFile.of(plan.plan.path), (), (), "fp16", {}, {}, {})

    def key(target=RTX, **build):
        document = {"model": {"name": "m", "source": "m.onnx"}, "targets": ["rtx4090"], "build": build}
        asked = Asked(plan)
        engines.compile(asked, Spec.model_validate(document).at(tmp_path), typed, target, ())
        return asked.keys[0]

    return key


def test_the_key_of_a_plan_has_every_option_that_can_change_it(key_of, tmp_path):
    (tmp_path / "a.timing").write_text("one")
    (tmp_path / "b.timing").write_text("one")
    (tmp_path / "c.timing").write_text("two")
    assert key_of() == key_of(timeout_s=5, memory_limit_mib=4000)
    assert key_of(timing_cache="a.timing") == key_of(timing_cache="b.timing")
    asked = [
        {}, {"workspace_mib": 64}, {"timing_cache": "off"}, {"timing_cache": "a.timing"}, {"timing_cache": "c.timing"},
        {"refit": "any"}, {"plugins": ["a.timing"]}, {"plugins": ["c.timing"]}, {"allow_precision_fallback": True},
        {"check_reproducible": True},
    ]  # fmt: skip
    assert len({key_of(**build) for build in asked}) == len(asked)


def test_the_gpu_is_in_the_key_where_kernels_are_timed_on_it(key_of, monkeypatch):
    found = {}
    for name in ("NVIDIA L4", "NVIDIA L40S"):
        monkeypatch.setattr(engines, "gpus", lambda name=name: (Gpu(name, "8.9", "580.0", 24000),))
        found[name] = key_of(), key_of(Target("l4", "tensorrt", "8.9"))
    (rtx, timed), (same, other) = found.values()
    assert rtx == same
    assert timed != other


def test_a_triton_folder_has_a_name_of_its_own_for_each_tensorrt():
    rtx, ten, eleven, other = (
        ("tensorrt_rtx", "1.7.1.116"), ("tensorrt", "10.16.0.72"), ("tensorrt", "11.4.0.1"), ("tensorrt", "10.0.1.6"),
    )  # fmt: skip
    assert _folder_names("net", [rtx]) == {rtx: "net"}
    assert _folder_names("net", [rtx, ten]) == {rtx: "net_tensorrt_rtx", ten: "net_tensorrt"}
    assert _folder_names("net", [ten, eleven]) == {ten: "net_tensorrt10", eleven: "net_tensorrt11"}
    assert _folder_names("net", [ten, other]) == {ten: "net_tensorrt10.16.0.72", other: "net_tensorrt10.0.1.6"}


def test_the_versions_of_the_interpreter_that_builds_are_in_the_key(tmp_path):
    """A script stands for two interpreters, whose TensorRT no machine of ours has."""
    found = []
    for version in ("10.16.0.72", "11.4.0.1"):
        python = tmp_path / version
        python.write_text(
            "#!/bin/sh\n"
            f'echo \'{{"version": [3, 12], "distributions": {{"tensorrt": "{version}"}}, '
            f'"packages": {{"tensorrt": "{version}"}}}}\'\n'
        )
        python.chmod(0o755)
        found.append(_toolchain_of(Target("h100", "tensorrt", "9.0", python=str(python))))
    assert [f["tensorrt"] for f in found] == ["10.16.0.72", "11.4.0.1"]
    assert found[0]["interpreter"] == "3.12"
    here = _toolchain_of(Target("h100", "tensorrt", "9.0"))
    assert "interpreter" not in here
    assert here["tensorrt"] not in ("10.16.0.72", "11.4.0.1")


def test_the_key_of_a_triton_folder_has_every_setting_and_file_of_its_block(tmp_path):
    plan = plan_values.plan(tmp_path)
    tensor = {"dtype": "string", "shape": ["batch", 1]}
    step = {"file": "step.py", "inputs": {"text": tensor}, "outputs": {"x": None}}

    def key(**block):
        document = {"model": {"name": "m", "source": "m.onnx"}, "targets": ["rtx4090"], "triton": block}
        asked = Asked(plan)
        engines.package(asked, Spec.model_validate(document).at(tmp_path), [plan], [])
        return asked.keys[0]

    (tmp_path / "labels.txt").write_text("one")
    (tmp_path / "step.py").write_text("one")
    found = [
        key(),
        key(warmup=2),
        key(override={"max_batch_size": 4}),
        key(labels={"y": "labels.txt"}),
        key(preprocess=step),
    ]
    (tmp_path / "labels.txt").write_text("two")
    (tmp_path / "step.py").write_text("two")
    found += [key(labels={"y": "labels.txt"}), key(preprocess=step)]
    assert len(set(found)) == len(found)
    assert key() == found[0]
