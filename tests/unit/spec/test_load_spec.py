import pytest

from trtbuild.errors import SpecError, UsageError
from trtbuild.spec import load_spec

SPEC = """\
model:
  name: minilm
  source: model.py:load
  inputs:
    ids: {dtype: int64, shape: [batch, seq]}
    mask: {dtype: int64, shape: [batch, seq]}
profiles:
  - {batch: [1, 8, 32], seq: [8, 128, 256]}
precision: int8
calibration:
  reader: data.py:batches
  method: entropy
accuracy: {data: data.py:held_out, metric: cosine, min: 0.995}
targets: [rtx4090, {backend: tensorrt, compute_capability: "9.0"}]
triton:
  release: "26.04"
"""


@pytest.fixture
def load(tmp_path):
    def load(text=SPEC, overrides=(), environment=None):
        file = tmp_path / "trtbuild.yaml"
        file.write_text(text)
        return load_spec(file, overrides=overrides, environment=environment or {})

    return load


def refused(load, *args, **options):
    with pytest.raises(SpecError) as caught:
        load(*args, **options)
    assert caught.value.exit_code == 2
    return caught.value


def line(error):
    return int(error.place.rpartition(":")[2])


def test_the_whole_of_a_spec(load, tmp_path):
    spec = load()
    assert spec.folder == tmp_path
    assert [(t.name, t.dtype, t.shape) for t in spec.input_tensors()] == [
        ("ids", "int64", ("batch", "seq")),
        ("mask", "int64", ("batch", "seq")),
    ]
    (profile,) = spec.optimization_profiles()
    assert {a: (r.min, r.opt, r.max) for a, r in profile.axes.items()} == {"batch": (1, 8, 32), "seq": (8, 128, 256)}
    assert [(t.target().name, t.target().backend, t.target().sm) for t in spec.targets] == [
        ("rtx4090", "tensorrt_rtx", 89),
        ("sm90", "tensorrt", 90),
    ]
    assert spec.calibration.samples == 512
    assert spec.model.opset == 20


def test_command_line_wins_over_environment_over_file(load):
    environment = {"TRTBUILD_CALIBRATION__METHOD": "mse", "TRTBUILD_CALIBRATION__SAMPLES": "7", "HOME": "x"}
    assert load().calibration.method == "entropy"
    assert load(environment=environment).calibration.method == "mse"
    both = load(overrides=["calibration.method=minmax"], environment=environment)
    assert (both.calibration.method, both.calibration.samples) == ("minmax", 7)


def test_overrides_are_yaml(load):
    spec = load(overrides=["targets=[sm86]", "calibration.args={n: 3}", "profiles=[text]", "build.workspace_mib=64"])
    assert spec.targets[0].compute_capability == "8.6"
    assert spec.calibration.args == {"n": 3}
    assert spec.optimization_profiles()[0].axes["seq"].max == 256
    assert spec.build.workspace_mib == 64


def test_an_override_makes_the_block_it_needs(load):
    assert load(overrides=["build.timeout_s=5"]).build.timeout_s == 5


def test_the_cache_folder_is_no_key_of_the_spec(load):
    assert load(environment={"TRTBUILD_CACHE": "somewhere"}).precision == "int8"


@pytest.mark.parametrize("word", ["precision", "=fp16", ""])
def test_an_override_without_a_key_or_value_is_refused(load, word):
    with pytest.raises(UsageError, match="sets nothing"):
        load(overrides=[word])


def test_an_override_below_a_plain_value_is_refused(load):
    assert "not a block" in refused(load, overrides=["precision.x=1"]).message


@pytest.mark.parametrize(
    ("old", "new", "number", "message", "hint"),
    [
        ("precision: int8", "precison: int8", 9, "unknown key 'precison'", "did you mean 'precision'?"),
        ("  method: entropy", "  metod: entropy", 12, "unknown key 'calibration.metod'", "did you mean 'method'?"),
        ("    mask: {dtype", "    mask: {dytpe", 6, "unknown key 'model.inputs.mask.dytpe'", "did you mean 'dtype'?"),
        ("precision: int8", "precision: in8", 9, "precision: 'in8' is not known", "did you mean 'int8'?"),
        ("  source: model.py:load\n", "", 1, "'model.source' is missing", "add it"),
        ("seq: [8, 128, 256]", "seq: [128, 8, 256]", 8, "min <= opt <= max does not hold", None),
        ("seq: [8, 128, 256]", "seq: [8, 128]", 8, "three whole numbers", None),
        ("seq: [8, 128, 256]", "sec: [8, 128, 256]", 7, "'sec', which is no axis", "did you mean 'seq'?"),
        (", seq: [8, 128, 256]", "", 7, "no sizes for axis 'seq'", "seq: [1, 8, 32]"),
        ('release: "26.04"', "release: 26.04", 16, "was read as a number", '"26.04"'),
        ('compute_capability: "9.0"', "compute_capability: 9.0", 14, "was read as a number", '"9.0"'),
        ("[rtx4090,", "[rtx4909,", 14, "there is no target 'rtx4909'", "did you mean 'rtx4090'?"),
        ("shape: [batch, seq]}\n    mask", "shape: [batch, 0]}\n    mask", 5, "size 0 is not possible", "a name"),
        ("metric: cosine, min: 0.995", "metric: cosine", 13, "say what passes", None),
        ("metric: cosine, min: 0.995", "metric: cosine, max_drop: 0.1", 13, "max_drop is for task metrics", None),
        ('"9.0"}', '"7.0"}', 14, "too old", "Turing"),
        (
            "backend: tensorrt,",
            "backend: tensorrt_rtx,",
            14,
            "does not build for compute capability 9.0",
            "backend tensorrt",
        ),
        ("name: minilm", "name: mini/lm", 2, "model.name", None),
    ],
)
def test_an_error_names_the_line_the_mistake_and_the_remedy(load, old, new, number, message, hint):
    assert old in SPEC
    error = refused(load, SPEC.replace(old, new, 1))
    assert line(error) == number
    assert message in error.message
    if hint:
        assert hint in f"{error.message} {error.hint}"


def test_several_mistakes_are_told_at_once(load):
    text = SPEC.replace("precision:", "precison:").replace("method:", "metod:").replace("release:", "relaese:")
    said = str(refused(load, text))
    for word in ("'precison'", "'calibration.metod'", "'triton.relaese'", ":9:", ":12:", ":16:"):
        assert word in said
    assert said.count("did you mean") == 3


def test_int8_without_calibration_is_refused(load):
    text = SPEC.replace("calibration:\n  reader: data.py:batches\n  method: entropy\n", "")
    assert "needs a calibration block" in refused(load, text).message


def test_dynamic_axes_without_a_profile_come_with_the_line_to_paste(load):
    text = SPEC.replace("profiles:\n  - {batch: [1, 8, 32], seq: [8, 128, 256]}\n", "")
    error = refused(load, text)
    line_to_paste = error.hint.split("   ")[1]
    assert line_to_paste == "profiles: [{batch: [1, 8, 32], seq: [1, 8, 32]}]"
    load(text + line_to_paste + "\n")


def test_a_mistake_in_the_environment_or_on_the_command_line_is_placed_there(load):
    assert refused(load, environment={"TRTBUILD_PRECISON": "fp16"}).place == "environment variable TRTBUILD_PRECISON"
    assert refused(load, overrides=["precision=fp15"]).place == "--set precision=fp15"


@pytest.mark.parametrize(
    ("text", "number"), [("model: {name: a\ntargets: [", 2), ("a: 1\na: 2\n", 2), ("model:\n\tname: x\n", 2)]
)
def test_what_is_no_yaml_has_its_line(load, text, number):
    error = refused(load, text)
    assert "not YAML" in error.message
    assert line(error) >= number


@pytest.mark.parametrize("text", ["", "just words", "- a\n- b\n"])
def test_what_is_no_mapping_is_refused(load, text):
    assert "not a mapping" in refused(load, text).message


def test_a_missing_file_says_how_to_write_one(tmp_path):
    with pytest.raises(SpecError, match="trtbuild init"):
        load_spec(tmp_path / "none.yaml", environment={})


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "s.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="cannot be read"):
        load_spec(tmp_path / "s.yaml", environment={})


def test_a_spec_is_frozen(load):
    with pytest.raises(ValueError, match="frozen"):
        load().precision = "fp32"


def test_overrides_and_the_search_are_read(load):
    spec = load(
        SPEC.replace("precision: int8", "precision: best")
        + 'precision_overrides: {"*/attention/*": fp16, "*/head": fp32}\nsearch: {exact: true, time_budget_s: 600}\n'
    )
    assert list(spec.precision_overrides.items()) == [("*/attention/*", "fp16"), ("*/head", "fp32")]
    assert (spec.search.exact, spec.search.time_budget_s) == (True, 600)
    assert (load().search.exact, load().search.time_budget_s) == (False, None)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("calibration:\n  reader: data.py:batches\n  method: entropy\n", "", "needs a calibration block"),
        ("metric: cosine, min: 0.995", "metric: top1, max_drop: 0.01", "holds an accuracy floor"),
        ("accuracy: {data: data.py:held_out, metric: cosine, min: 0.995}\n", "", "holds an accuracy floor"),
    ],
)
def test_best_needs_data_and_a_floor(load, before, after, says):
    assert says in str(refused(load, SPEC.replace("precision: int8", "precision: best").replace(before, after)))


def test_an_override_to_an_unknown_precision_is_refused(load):
    assert line(refused(load, SPEC + 'precision_overrides: {"*": fp61}\n')) == SPEC.count("\n") + 1


def test_dynamic_quantisation_is_refused_with_what_there_is(load):
    error = refused(load, overrides=["precision=int8_dynamic"])
    said = f"{error.message} {error.hint}"
    for word in ("tensorrt_rtx", "NVFP4 and MXFP8", "int8_weights"):
        assert word in said


@pytest.mark.parametrize(("precision", "needs"), [("fp8", True), ("int4", False), ("int8_weights", False)])
def test_only_precisions_with_activations_need_calibration(load, precision, needs):
    text = SPEC.replace("calibration:\n  reader: data.py:batches\n  method: entropy\n", "")
    text = text.replace("precision: int8", f"precision: {precision}")
    if needs:
        assert f"precision {precision} needs a calibration block" in refused(load, text).message
    else:
        assert load(text).calibration is None


@pytest.mark.parametrize(
    ("precision", "extra", "words"),
    [
        ("int8", "precision_overrides:\n  '*attention*': fp16\n  'head*': fp8\n", ":{line}: target rtx3090: compute capability 8.6 cannot do fp8"),
        ("int8", "rest: fp16\nprecision_overrides: {'*': int4}\n", None),
    ],
)  # fmt: skip
def test_what_some_nodes_are_asked_to_be_in_is_held_against_every_target(tmp_path, precision, extra, words):
    file = tmp_path / "trtbuild.yaml"
    text = f"model: {{name: m, source: m.onnx}}\nprecision: {precision}\ncalibration: {{reader: random}}\ntargets: [rtx5090, rtx3090]\n{extra}"
    file.write_text(text)
    if words is None:
        load_spec(file, environment={})
        return
    with pytest.raises(SpecError) as caught:
        load_spec(file, environment={})
    line = text[: text.index("'head*'")].count("\n") + 1
    assert words.format(line=line) in str(caught.value)
    assert "take precision int8" in caught.value.hint


def test_the_rest_of_a_quantised_graph_is_held_against_every_target(tmp_path):
    file = tmp_path / "trtbuild.yaml"
    file.write_text("model: {name: m, source: m.onnx}\nprecision: int8_weights\nrest: bf16\ntargets: [t4]\n")
    with pytest.raises(SpecError, match="yaml:3: target t4: compute capability 7.5 cannot do bf16"):
        load_spec(file, environment={})
