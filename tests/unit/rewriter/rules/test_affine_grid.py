import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import parsed
from rewriting import holds


def grid(sizes, corners, size="size"):
    rows, columns = len(sizes), len(sizes) + 1
    shape = ",".join(map(str, sizes))
    given = f"<int64[{columns + 1}] size = {{2,3,{shape}}}>"
    copy = "" if size == "size" else f"{size} = Identity(size)"
    return parsed(
        f"g (float[2,{rows},{columns}] theta) => (float[2,{shape},{rows}] y) {given} "
        f"{{ {copy} y = AffineGrid <align_corners: int = {corners}> (theta, {size}) }}",
        opset=20,
    )


@given(st.lists(st.integers(2, 6), min_size=2, max_size=3), st.integers(0, 1))
@settings(max_examples=20, deadline=None)
def test_a_known_grid_becomes_one_product(sizes, corners):
    after = holds(grid(sizes, corners), "affine_grid")
    assert after.ops == ["Transpose", "MatMul", "Reshape"]


@pytest.mark.parametrize("corners", [0, 1])
def test_the_batch_stays_dynamic(corners):
    proto = parsed(
        f"g (float[n,2,3] theta) => (float[n,4,5,2] y) <int64[4] size = {{2,3,4,5}}> "
        f"{{ y = AffineGrid <align_corners: int = {corners}> (theta, size) }}",
        opset=20,
    )
    assert holds(proto, "affine_grid", sizes=[{"n": 2}]).rules == ["affine_grid"]


GUARDS = {"the image's size is not constant": lambda: grid([3, 4], 0, "computed")}
