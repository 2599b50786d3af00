import dataclasses

import pytest

from trtbuild.artifacts import BuildOptions
from trtbuild.content import file_digest
from trtbuild.errors import SpecError
from trtbuild.spec import BuildSpec, load_spec


def test_the_spec_has_every_option_with_its_default(tmp_path):
    assert set(BuildSpec.model_fields) == {field.name for field in dataclasses.fields(BuildOptions)}
    assert BuildSpec().options(tmp_path) == BuildOptions()


def test_paths_start_at_the_spec(tmp_path):
    spec = BuildSpec(timing_cache="a.timing", plugins=["b.so"], tactic_sources=["cudnn"])
    options = spec.options(tmp_path)
    assert options.pinned_cache == tmp_path / "a.timing"
    assert options.plugins == (str(tmp_path / "b.so"),)
    assert options.tactic_sources == ("cudnn",)
    assert options.asked() == {
        "timing_cache": str(tmp_path / "a.timing"), "plugins": (str(tmp_path / "b.so"),), "tactic_sources": ("cudnn",)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ("{strip_weights: true}", "refit: identical"),
        ("{exclude_lean_runtime: true}", "version_compatible: true"),
        ("{tiling_l2_mib: 4}", "tiling: fast"),
        ("{dla_sram_kib: 4, dla_gpu_fallback: true}", "dla_core: 0"),
        ("{profiling_verbosity: none}", "allow_precision_fallback: true"),
    ],
)
def test_options_that_cannot_be_had_together_are_refused(tmp_path, block, words):
    file = tmp_path / "s.yaml"
    file.write_text(f"model: {{name: m, source: m.onnx}}\ntargets: [rtx4090]\nbuild: {block}\n")
    with pytest.raises(SpecError) as caught:
        load_spec(file, environment={})
    assert words in caught.value.hint
    assert caught.value.place == f"{file}:3"


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(BuildOptions)])
def test_what_changes_the_plan_is_in_the_key(tmp_path, field):
    (tmp_path / "a").write_text("a")
    values = {
        int: 7, float: 7.0, str: str(tmp_path / "a"), bool: True, "None": 7,
        "tactic_sources": ("cudnn",), "plugins": (str(tmp_path / "a"),), "tiling": "full", "exclude_lean_runtime": True,
        "hardware_compatibility": "ampere_plus", "runtime_platform": "windows_amd64", "refit": "any",
        "profiling_verbosity": "none",
    }  # fmt: skip
    default = getattr(BuildOptions(), field)
    value = values.get(field, values["None"] if default is None else values.get(type(default)))
    changed = dataclasses.replace(BuildOptions(), **{field: value}).parameters()
    assert (changed == BuildOptions().parameters()) == (field in ("timeout_s", "memory_limit_mib"))


def test_a_file_counts_by_its_content(tmp_path):
    for name, text in (("a", "one"), ("b", "one"), ("c", "two")):
        (tmp_path / name).write_text(text)
    same, other, third = (
        BuildOptions(timing_cache=str(tmp_path / name), plugins=(str(tmp_path / name),)).parameters() for name in "abc"
    )
    assert same == other != third
    assert same["plugins"] == [same["timing_cache"]] == [file_digest(tmp_path / "a")]
