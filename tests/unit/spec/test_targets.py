from typing import get_args

import pytest

from trtbuild.artifacts import Precision, Target, TargetRates
from trtbuild.backends.tensorrt_rtx import CAPABILITIES
from trtbuild.errors import SpecError, UsageError
from trtbuild.spec import check_target, resolve_target, shipped_targets
from trtbuild.spec.hardware import tensor_core_formats
from trtbuild.spec.targets import TargetFields, find_target, precisions_of


def test_every_target_that_ships_can_do_fp16():
    found = shipped_targets()
    assert {"rtx4090", "rtx5090", "h100", "t4"} <= set(found)
    for name, fields in found.items():
        assert fields.target().name == name
        assert fields.gpu
        check_target(fields.target(), "fp16")


@pytest.mark.parametrize(
    ("word", "backend", "capability"),
    [
        ("sm89", "tensorrt_rtx", "8.9"),
        ("SM_120", "tensorrt_rtx", "12.0"),
        ("sm90", "tensorrt", "9.0"),
        ("h100", "tensorrt", "9.0"),
    ],
)
def test_targets_by_name_or_capability(word, backend, capability):
    target = resolve_target(word)
    assert (target.backend, target.compute_capability) == (backend, capability)


def test_sm_is_the_capability_as_a_number():
    assert [Target("t", "b", c).sm for c in ("7.5", "8.9", "12.1")] == [75, 89, 121]


def test_an_unknown_target_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'rtx4090'"):
        resolve_target("rtx4099")


@pytest.mark.parametrize(
    ("backend", "capability", "precision", "words"),
    [
        ("tensorrt_rtx", "9.0", "fp16", "does not build for compute capability 9.0"),
        ("tensorrt_rtx", "7.5", "fp32", "no FP32 matrix multiplication"),
        ("tensorrt_rtx", "7.5", "bf16", "cannot do bf16"),
        ("tensorrt", "7.5", "tf32", "cannot do tf32"),
        ("tensorrt", "7.0", "fp16", "7.0 is too old"),
        ("tensorrt_rtx", "8.6", "fp8", "cannot do fp8"),
        ("tensorrt", "8.0", "fp8", "cannot do fp8"),
        ("tensorrt_rtx", "7.5", "int4", "cannot do int4"),
    ],
)
def test_what_a_target_cannot_do_is_refused_before_the_build(backend, capability, precision, words):
    with pytest.raises(SpecError, match=words) as caught:
        check_target(Target("mine", backend, capability), precision)
    assert caught.value.place == "target mine"
    assert caught.value.hint


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_tensorrt_rtx_does_fp16_and_int8_everywhere(capability, precision):
    check_target(Target("t", "tensorrt_rtx", capability), precision)


def test_rates_are_in_operations_and_bytes_a_second():
    rates = shipped_targets()["h100"].rates()
    assert rates.target == "h100"
    assert rates.peak["fp16"] == 989.5e12
    assert rates.bandwidth == 3.35e12
    assert resolve_target("sm89").sm == 89  # a target without figures has none, and is still a target
    assert TargetFields(backend="tensorrt", compute_capability="9.0").rates() == TargetRates("sm90", {}, None)


def test_rates_are_no_part_of_what_a_plan_is_built_for():
    fields = shipped_targets()["h100"]
    assert fields.target() == Target("h100", "tensorrt", "9.0", "H100")


@pytest.mark.parametrize(
    ("capability", "precision", "hint"),
    [
        ("8.6", "fp8", "take precision int8 or fp16; fp8 begins at compute capability 8.9"),
        ("7.5", "int4", "take precision int8_weights or int8; int4 begins at compute capability 8.0"),
        ("7.5", "bf16", "take precision fp16 or int8; bf16 begins at compute capability 8.0"),
    ],
)
def test_the_hint_names_what_the_target_can_do(capability, precision, hint):
    with pytest.raises(SpecError) as caught:
        check_target(Target("mine", "tensorrt_rtx", capability), precision)
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("precision", "capability"),
    [("fp8", "8.9"), ("fp8", "12.0"), ("int4", "8.0"), ("int8_weights", "7.5"), ("fp8", "9.0")],
)
def test_newer_formats_are_taken_where_they_begin(precision, capability):
    check_target(Target("t", "tensorrt" if capability == "9.0" else "tensorrt_rtx", capability), precision)


REFUSED = {  # what hardware cannot do, and for TensorRT-RTX what it cannot build
    ("7.5", "tensorrt"): {"tf32": "fp16", "bf16": "fp16", "fp8": "int8", "int4": "int8_weights"},
    ("7.5", "tensorrt_rtx"): {
        "fp32": "fp16", "tf32": "fp16", "bf16": "fp16", "fp8": "int8", "int4": "int8_weights",
    },
    **{(c, b): {"fp8": "int8"} for c in ("8.0", "8.6", "8.7") for b in ("tensorrt", "tensorrt_rtx")},
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(shipped_targets()))
def test_each_target_takes_each_precision_or_says_what_to_take(name):
    fields = shipped_targets()[name]
    for backend in fields.backends:
        target = find_target(f"{name}@{backend}").target()
        refused = {p: why for p, why in precisions_of(target).items() if why}
        expected = REFUSED.get((target.compute_capability, backend), {})
        assert refused.keys() == expected.keys()
        for precision, instead in expected.items():
            assert f"take precision {instead}" in refused[precision]
            check_target(target, instead)  # what is suggested is accepted
    assert set(get_args(Precision)) == set(precisions_of(fields.target()))


def test_figures_say_where_they_come_from_and_fit_the_tensor_cores():
    for name, fields in shipped_targets().items():
        assert fields.source, name
        assert set(fields.peak) <= {*fields.formats, "fp32"}, name
        known = {*fields.peak, *(k for k in ("memory_gb", "bandwidth_gb_s", "l2_mb", "power_w") if getattr(fields, k))}
        assert set(fields.from_memory) <= known, name
        assert fields.backends[0] == fields.backend, name
        assert fields.memory_gb
        assert fields.bandwidth_gb_s
    assert "from memory: l2_mb" in shipped_targets()["rtx5080"].rates().source


def test_tensor_cores_by_capability():
    assert set(tensor_core_formats(75)) == {"fp16", "int8", "int4"}
    assert set(tensor_core_formats(89)) == {"fp16", "int8", "int4", "bf16", "tf32", "fp8"}
    assert set(tensor_core_formats(90)) == {"fp16", "int8", "bf16", "tf32", "fp8"}
    assert set(tensor_core_formats(120)) == {"fp16", "int8", "bf16", "tf32", "fp8", "fp4"}


def test_a_backend_is_chosen_by_name():
    chosen = resolve_target("rtx4090@tensorrt")
    assert (chosen.name, chosen.backend, chosen.gpu) == ("rtx4090@tensorrt", "tensorrt", "GeForce RTX 4090")
    assert resolve_target("sm89@tensorrt").backend == "tensorrt"
    assert find_target("rtx4090@tensorrt").peak == shipped_targets()["rtx4090"].peak
    with pytest.raises(UsageError, match="'tensorrt_rtx' does not build for h100; it has tensorrt"):
        resolve_target("h100@tensorrt_rtx")


def test_a_target_without_a_backend_is_refused():
    with pytest.raises(ValueError, match="backend: tensorrt_rtx"):
        TargetFields(compute_capability="8.9")
