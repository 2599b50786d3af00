"""The compile path against the names of each release: what it takes is there, and it says so where it is not."""

import json
import sys

import pytest
from fake_tensorrt import RELEASES, FakeTensorRT
from onnx_models import model, node, save
from release_builds import RTX, TRT_10, TRT_10_0, TRT_11, ask, build

from trtbuild import device
from trtbuild.artifacts import BuildOptions, to_json
from trtbuild.backends import BACKENDS
from trtbuild.device import Gpu
from trtbuild.engine import building, names, parsing, timing_cache
from trtbuild.engine.building import build_plan, try_options
from trtbuild.engine.header import read_header
from trtbuild.engine.layers import from_inspector, from_log
from trtbuild.engine.options import OPTIONS
from trtbuild.errors import BuildError, InvalidOnnxError, SpecError, TrtbuildError


@pytest.mark.parametrize("release", RELEASES)
def test_the_whole_path_runs(fake, onnx, tmp_path, release):
    told = []
    trt = fake(release)
    answer = build_plan(ask(trt, onnx, tmp_path), told.append)
    state = json.loads((tmp_path / "m.plan").read_bytes()[64:])
    assert state["network"] == ["STRONGLY_TYPED"]
    assert state["flags"] == []
    assert state["values"]["profiling_verbosity"] == "DETAILED"
    assert state["profiles"] == [{"x": [[1, 8], [4, 8], [16, 8]]}]
    assert state["targets"] == (["SM89"] if release == RTX else [])
    found = from_log(answer["layers"]) if release == RTX else from_inspector(answer["inspector"])
    assert [layer.onnx_nodes for layer in found.layers] == [("matmul",), ("relu",)]
    assert answer["version"] in release
    assert answer["warnings"] == []
    shares = [event["share"] for event in told]
    assert shares == sorted(shares)
    assert shares[-1] > 0.9
    assert read_header(tmp_path / "m.plan").backend == trt.__name__


# each option, a value, and where it must arrive: a path into the builder's state
POOLS = {
    "workspace_mib": ("WORKSPACE", 20), "tactic_dram_mib": ("TACTIC_DRAM", 20),
    "tactic_shared_memory_kib": ("TACTIC_SHARED_MEMORY", 10), "dla_sram_kib": ("DLA_MANAGED_SRAM", 10),
    "dla_local_dram_mib": ("DLA_LOCAL_DRAM", 20), "dla_global_dram_mib": ("DLA_GLOBAL_DRAM", 20),
}  # fmt: skip
FLAGS = {
    "version_compatible": (True, "VERSION_COMPATIBLE"), "weight_streaming": (True, "WEIGHT_STREAMING"),
    "sparsity": (True, "SPARSE_WEIGHTS"), "strict_nans": (True, "STRICT_NANS"),
    "distributive_independence": (True, "DISTRIBUTIVE_INDEPENDENCE"), "dla_gpu_fallback": (True, "GPU_FALLBACK"),
    "refit": ("identical", "REFIT_IDENTICAL"), "strip_weights": (True, "STRIP_PLAN"),
    "exclude_lean_runtime": (True, "EXCLUDE_LEAN_RUNTIME"),
}  # fmt: skip
VALUES = {
    "optimization_level": (4, "builder_optimization_level", 4),
    "max_num_tactics": (7, "max_num_tactics", 7),
    "avg_timing_iterations": (8, "avg_timing_iterations", 8),
    "max_aux_streams": (0, "max_aux_streams", 0),
    "tiling": ("full", "tiling_optimization_level", "FULL"),
    "tiling_l2_mib": (3, "l2_limit_for_tiling", 3 << 20),
    "hardware_compatibility": ("ampere_plus", "hardware_compatibility_level", "AMPERE_PLUS"),
    "runtime_platform": ("windows_amd64", "runtime_platform", "WINDOWS_AMD64"),
    "profiling_verbosity": ("none", "profiling_verbosity", "NONE"),
    "dla_core": (1, "DLA_core", 1),
}
WITH = {
    "exclude_lean_runtime": {"version_compatible": True}, "strip_weights": {"refit": "any"},
    "tiling_l2_mib": {"tiling": "fast"}, "dla_gpu_fallback": {"dla_core": 0}, "dla_sram_kib": {"dla_core": 0},
    "dla_local_dram_mib": {"dla_core": 0}, "dla_global_dram_mib": {"dla_core": 0},
    "profiling_verbosity": {"allow_precision_fallback": True},
}  # fmt: skip
OTHERS = {"tactic_sources": ("jit_convolutions",), "plugins": "a library"}
LACKS = {
    TRT_10_0: {
        "max_num_tactics", "tiling", "tiling_l2_mib", "runtime_platform", "strict_nans", "distributive_independence",
    },
    TRT_10: set(),
    TRT_11: set(),
    RTX: {
        "hardware_compatibility", "runtime_platform", "plugins", "dla_core", "dla_gpu_fallback", "dla_sram_kib",
        "dla_local_dram_mib", "dla_global_dram_mib",
    },
}  # fmt: skip
ON_GPU_ONLY = {"refit", "strip_weights"}  # TensorRT-RTX finds out while it builds


def test_every_option_is_tried():
    assert {*POOLS, *FLAGS, *VALUES, *OTHERS} == {option.name for option in OPTIONS}
    untold = {"allow_precision_fallback", "timeout_s", "memory_limit_mib", "check_reproducible", "timing_cache"}
    assert {option.name for option in OPTIONS} | untold == set(to_json(BuildOptions()))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    file = tmp_path_factory.mktemp("plugins") / "libours.so"
    file.write_bytes(b"\x7fELF")
    return str(file)


def asked(option, library):
    if option in POOLS:
        value = 64
    elif option in FLAGS:
        value = FLAGS[option][0]
    elif option in VALUES:
        value = VALUES[option][0]
    else:
        value = (library,) if option == "plugins" else OTHERS[option]
    return {option: value, **WITH.get(option, {})}


def arrived(option, state, trt):
    if option in POOLS:
        pool, shift = POOLS[option]
        return state["pools"].get(pool) == 64 << shift
    if option in FLAGS:
        return FLAGS[option][1] in state["flags"]
    if option in VALUES:
        _value, name, kept = VALUES[option]
        return state["values"][name] == kept
    return option == "plugins" or state["sources"] == 1 << int(trt.TacticSource.JIT_CONVOLUTIONS)


@pytest.mark.parametrize("option", [option.name for option in OPTIONS])
@pytest.mark.parametrize("release", RELEASES)
def test_an_option_arrives_or_is_refused(fake, onnx, tmp_path, library, release, option):
    trt = fake(release, dla_cores=0 if release == RTX else 2)
    wanted = asked(option, library)
    if option in LACKS[release]:
        with pytest.raises((SpecError, BuildError)) as caught:
            build(trt, onnx, tmp_path, **wanted)
        assert caught.value.place.startswith("build.")
        assert caught.value.place.removeprefix("build.") in wanted
        assert caught.value.hint
        assert not (tmp_path / "m.log").exists(), "it was refused after the build began"
        with pytest.raises(type(caught.value)):
            try_options(ask(trt, onnx, tmp_path, **wanted), lambda _event: None)
    elif release == RTX and option in ON_GPU_ONLY:
        with pytest.raises(BuildError, match="did not build the engine"):
            build(trt, onnx, tmp_path, **wanted)
    else:
        answer, state = build(trt, onnx, tmp_path, **wanted)
        assert arrived(option, state, trt)
        ignores = BACKENDS.load(trt.__name__).IGNORES
        assert answer["warnings"] == [f"build.{name}: {said}" for name, said in ignores.items() if name in wanted]
        assert try_options(ask(trt, onnx, tmp_path, **wanted), lambda _event: None) == answer["warnings"]
        _answer, other = build(trt, onnx, tmp_path)
        assert option == "plugins" or not arrived(option, other, trt)


def everything(release, library):
    """All the options that a release honours."""
    wanted = {}
    for option in OPTIONS:
        if option.name not in LACKS[release] and not (release == RTX and option.name in ON_GPU_ONLY):
            wanted = asked(option.name, library) | wanted  # what was asked for itself counts
    return wanted


@pytest.mark.parametrize("release", RELEASES)
def test_all_options_at_once(fake, onnx, tmp_path, library, release):
    trt = fake(release, dla_cores=0 if release == RTX else 2)
    wanted = everything(release, library)
    _answer, state = build(trt, onnx, tmp_path / release, **wanted)
    told = set(wanted) - {"allow_precision_fallback"}
    assert len(told) > 12
    assert [option for option in told if not arrived(option, state, trt)] == []


@pytest.mark.parametrize(
    ("release", "option", "value", "words"),
    [
        (TRT_10_0, "max_num_tactics", 3, "tensorrt 10.0.1 cannot do it: it has no IBuilderConfig.max_num_tactics"),
        (TRT_10_0, "hardware_compatibility", "same_compute_capability", "it has ampere_plus, none"),
        (TRT_11, "tactic_sources", ("cublas",), "it has edge_mask_convolutions, jit_convolutions"),
        (RTX, "hardware_compatibility", "ampere_plus", "keeps none\n    setHardwareCompatibilityLevel\\(\\) is unsup"),
        (RTX, "plugins", ("a.so",), "it has no INetworkDefinition.add_plugin_v3"),
        (TRT_10, "dla_core", 0, "0 did not take: tensorrt 10.16.1.11 keeps -1"),
        (TRT_10, "optimization_level", 99, "99 did not take: tensorrt 10.16.1.11 keeps 5"),
        (TRT_10, "optimization_level", -1, "-1 did not take: tensorrt 10.16.1.11 keeps 3\n    .*API Usage Error"),
        (TRT_11, "max_num_tactics", 0, "keeps -1\n    .*has no effect"),
    ],
)
def test_a_refusal_says_what_is_there(fake, onnx, tmp_path, release, option, value, words):
    with pytest.raises((SpecError, BuildError), match=words) as caught:
        build(fake(release), onnx, tmp_path, **{option: value})
    assert caught.value.place == f"build.{option}"


@pytest.mark.parametrize("release", RELEASES)
def test_a_version_compatible_plan_takes_the_lean_runtime_where_there_is_one(fake, onnx, tmp_path, release):
    _answer, state = build(fake(release), onnx, tmp_path, version_compatible=True)
    assert ("EXCLUDE_LEAN_RUNTIME" in state["flags"]) == (release == RTX)
    if release == RTX:
        with pytest.raises(SpecError, match="no lean runtime"):
            build(fake(release), onnx, tmp_path, version_compatible=True, exclude_lean_runtime=False)


@pytest.mark.parametrize("release", RELEASES)
def test_what_a_release_can_do_is_looked_up(fake, release):
    trt = fake(release)
    able = names.abilities(trt)
    backend = BACKENDS.load(trt.__name__)
    assert able.needs_gpu_to_build == backend.NEEDS_GPU_TO_BUILD == (release != RTX)
    assert able.has_plugins == (release != RTX)
    assert able.timing_cache_effective == (release != RTX)
    assert names.missing(trt, (*names.BUILDING, *names.INSPECTING, *names.TIMING_CACHE, *backend.NEEDS)) == []


# ------------------------------------------------------------------------------------------------ names that go away


def run(release, onnx, folder, library, without=()):
    """Everything a release honours, with shared times and with pinned ones; the names that this took."""
    trt = FakeTensorRT(release, without=without, dla_cores=0 if release == RTX else 2)
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "gpus", lambda: (Gpu("GPU 0", "8.9", "580.0", 24000),))
        patch.setitem(sys.modules, trt.__name__, trt)
        wanted = everything(release, library)
        answer, _state = build(trt, onnx, folder, **wanted)
        if answer["timing_cache"]:
            build(trt, onnx, folder, **wanted, timing_cache=answer["timing_cache"])
    return trt._touched


@pytest.mark.parametrize("release", RELEASES)
def test_a_name_that_goes_away_is_missed(onnx, tmp_path, library, release):
    """Each name in turn: the error says which it is."""
    took = sorted(run(release, onnx, tmp_path, library))
    assert len(took) > 60
    quiet = []
    for name in took:
        try:
            run(release, onnx, tmp_path, library, without=[name])
            quiet.append(name)
        except (TrtbuildError, AttributeError) as error:
            if name.rpartition(".")[2] not in str(error):
                quiet.append(f"{name}: {error}")
    assert quiet == []


@pytest.mark.parametrize("release", RELEASES)
def test_what_every_build_takes_is_looked_up_before_it_begins(fake, onnx, tmp_path, monkeypatch, release):
    """The lists in ``names`` are what the path takes: no name of it is left out, none is there for nothing."""
    trt = fake(release)
    for module in (building, timing_cache):
        monkeypatch.setattr(module, "hold_names", lambda _trt, _names: None)  # looking a name up takes it
    build(trt, onnx, tmp_path)
    build_plan_refuses(trt, tmp_path)
    build_plan(ask(trt, onnx, tmp_path) | {"tf32": True}, lambda _event: None)  # now there are times to combine
    assert json.loads((tmp_path / "m.plan").read_bytes()[64:])["flags"] == ["TF32"]
    backend = BACKENDS.load(trt.__name__)
    listed = {*names.BUILDING, *backend.NEEDS, *(() if release == RTX else (*names.INSPECTING, *names.TIMING_CACHE))}
    classes = {name.partition(".")[0] for name in listed}
    able = {"IBuilderConfig.set_compute_capability", *names.PLUGINS, "INetworkDefinition"}
    took = trt._touched - classes - able - {"ComputeCapability.SM89"}
    assert sorted(listed - classes - able - took) == []
    assert sorted(took - listed) == []


def build_plan_refuses(trt, folder):
    bad = save(model([node("Unknown", ["x"], ["y"], "odd")], [("x", [2])], [("y", [2])]), folder / "bad.onnx")
    with pytest.raises(InvalidOnnxError) as caught:
        build_plan(ask(trt, bad, folder) | {"profiles": []}, lambda _event: None)
    assert [(r["node"], r["operator"]) for r in caught.value.result["refused"]] == [("odd", "Unknown")]
    alone = parsing.refused({"backend": trt.__name__, "onnx": str(bad)}, lambda _event: None)
    assert alone == caught.value.result["refused"]


@pytest.mark.parametrize("release", RELEASES)
def test_a_refused_model_and_a_bad_profile_end_the_same_on_each(fake, tmp_path, onnx, release):
    build_plan_refuses(fake(release), tmp_path)
    request = ask(fake(release), onnx, tmp_path) | {"profiles": [{"x": [[4, 8], [2, 8], [8, 8]]}]}
    with pytest.raises(BuildError, match="min <= opt <= max"):
        build_plan(request, lambda _event: None)
