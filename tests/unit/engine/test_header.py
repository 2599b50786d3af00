import struct

import pytest

from trtbuild.engine.header import read_header
from trtbuild.errors import IntegrityError


def plan(tmp_path, magic=b"vtrt", version=(1, 7, 1, 116), mask=8, length=100):
    head = magic.ljust(16, b"\0") + struct.pack("<Q", length) + bytes(version) + b"\0" * 4 + struct.pack("<I", mask)
    path = tmp_path / "model.plan"
    path.write_bytes(head.ljust(length, b"\0")[:length])
    return path


def test_a_plan_of_tensorrt_rtx(tmp_path):
    found = read_header(plan(tmp_path, mask=8 | 16))
    assert (found.backend, found.version, found.compute_capabilities, found.size) == (
        "tensorrt_rtx", "1.7.1.116", ("8.9", "12.0"), 100,
    )  # fmt: skip


@pytest.mark.parametrize("magic", [b"ptrt", b"ftrt"])
def test_a_plan_of_tensorrt_names_no_targets(tmp_path, magic):
    found = read_header(plan(tmp_path, magic, (10, 14, 1, 48), mask=0xFFFF))
    assert (found.backend, found.version, found.compute_capabilities) == ("tensorrt", "10.14.1.48", ())


@pytest.mark.parametrize(
    "options", [{"magic": b"ONNX"}, {"length": 63}, {"length": 3}, {"length": 0}], ids=["other", "cut", "stub", "empty"]
)
def test_what_is_no_plan_is_refused(tmp_path, options):
    with pytest.raises(IntegrityError, match="not a TensorRT plan") as caught:
        read_header(plan(tmp_path, **options))
    assert caught.value.hint


def test_a_missing_plan_is_refused(tmp_path):
    with pytest.raises(IntegrityError, match="no such plan"):
        read_header(tmp_path / "none.plan")
