"""Kernels as a person reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbuild.artifacts import EngineLayer, EngineLayers, LayerTensor
from trtbuild.cli import _kernels
from trtbuild.engine.layers import from_inspector, from_log


@pytest.fixture
def int8(golden):
    return from_log((golden / "cnn_int8.layers").read_text())


@pytest.mark.parametrize("columns", [80, 160])
@pytest.mark.parametrize("log", ["cnn_int8", "mixed_formats", "row_int4"])
def test_everything_fits_the_terminal(golden, columns, log):
    layers = from_log((golden / f"{log}.layers").read_text())
    text = [*_kernels.lines(layers, columns), *_kernels.rows(layers, range(len(layers)), columns).splitlines()]
    text += _kernels.node_lines(_kernels.where_to(layers, ""), columns)
    assert text
    assert max(map(len, text)) <= columns


def test_a_pipe_gets_whole_names(int8):
    text = _kernels.rows(int8, range(len(int8)), None)
    assert all(layer.name in text for layer in int8)


def test_the_summary_in_words(golden):
    said = "\n".join(_kernels.lines(from_inspector((golden / "inspector_10.json").read_text()), None))
    assert "kernels    4: 2 matrix, 1 generated, 1 reformat" in said
    assert "fused      2 kernels" in said
    assert "bytes" in said
    assert "1 kernels not known" in said
    assert "1 x fp32 Row major linear FP32 -> fp16 Channel major FP16 format where channel % 4 == 0, 72.0 KiB" in said


def test_what_is_not_known_is_said(int8):
    said = "\n".join(_kernels.lines(int8, None))
    assert "FLOPs      not known" in said
    assert "7 kernels not known" in said or "bytes      not known" in said
    assert _kernels.lines(EngineLayers(), None) == ["kernels    not known: no description of the plan lists them"]
    names = EngineLayers((EngineLayer("a", "", "unknown", ()),))
    assert "of which only names are known" in _kernels.lines(names, None)[0]


def test_reformats_of_one_kind_are_counted_together():
    one, other = LayerTensor("x", "int8", (4, 8), "(NHWC) x"), LayerTensor("y", "int8", (4, 8), "(Linear) y")
    move = EngineLayer("m", "reformat", "int8", (), (one,), (other,))
    (line,) = [text for text in _kernels.lines(EngineLayers((move, move)), None) if text.startswith("reformats")]
    assert line == "reformats  2 x int8 NHWC -> int8 Linear, 128 B"


def test_the_largest_come_first():
    def kernel(name, size, macs):
        tensor = LayerTensor("x", "int8", (size,))
        return EngineLayer(name, "gemm", "int8", ("n",), (tensor, tensor), (tensor,), macs=macs)

    layers = EngineLayers((kernel("small", 1, 1), kernel("moves", 1000, 1), kernel("counts", 1, 10**6)))
    names = [line.split()[1] for line in _kernels.largest(layers, None).splitlines()]
    assert names == ["kernel", "counts", "moves", "small"]


def test_where_a_node_went(int8):
    (found,) = _kernels.where_to(int8, "/Relu").values()
    assert [k.name for k in found] == ["__myl_MulAddReluMulMinMaxRounCast_myl0_3"]
    assert set(_kernels.where_to(int8, "Relu")) == {"/Relu", "/Relu_1", *(n for n in int8.by_node() if "Relu" in n)}
    assert _kernels.where_to(int8, "nothing of the kind") == {}
    gone = EngineLayers(int8.layers, vanished=("/folded",))
    assert _kernels.node_lines(_kernels.where_to(gone, "/folded"), None)[0].startswith("in no kernel")


@given(st.text(), st.integers(16, 200))
def test_a_shortened_text_fits_and_keeps_its_ends(text, columns):
    short = _kernels.shortened(text, columns)
    assert len(short) <= columns
    assert short == text or (len(text) > columns and text.startswith(short.split("...")[0]))


@given(st.integers(0, 10**18))
def test_operations_are_said_in_a_unit_that_fits(count):
    number, _, unit = _kernels.flops(count).partition(" ")
    factor = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}[unit]
    assert abs(float(number) * factor - count) <= 0.051 * factor


def test_each_profile_has_its_figures():
    layers = EngineLayers(tuple(EngineLayer("k", "gemm", "int8", ("n",), profile=p, macs=10**p) for p in (3, 6)))
    said = _kernels.lines(layers, None)
    assert "kernels    2 over 2 profiles: 2 matrix" in said
    assert "FLOPs      profile 3: 2.0 k: int8 100.0%" in said
    assert "FLOPs      profile 6: 2.0 M: int8 100.0%" in said
    assert "profile" in _kernels.rows(layers, (0, 1), None).splitlines()[0]
