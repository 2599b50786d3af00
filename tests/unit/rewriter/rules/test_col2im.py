from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx_text import parsed
from rewriting import holds


def folding(batch, channels, image, block, strides, dilations, pads, copy=""):
    number = len(image)
    rows = 1
    for i in range(number):
        room = image[i] + pads[i] + pads[i + number] - dilations[i] * (block[i] - 1) - 1
        if room < 0:
            return None
        rows *= room // strides[i] + 1
    elements = channels
    for b in block:
        elements *= b
    write = lambda v: ",".join(map(str, v))  # noqa: E731
    same = "shape = Identity(image)" if copy else ""
    return parsed(
        f"g (float[{batch},{elements},{rows}] x) => (float[{batch},{channels},{write(image)}] y) "
        f"<int64[{number}] image = {{{write(image)}}}, int64[{number}] block = {{{write(block)}}}> "
        f"{{ {same} y = Col2Im <strides: ints = [{write(strides)}], dilations: ints = [{write(dilations)}], "
        f"pads: ints = [{write(pads)}]> (x, {'shape' if copy else 'image'}, block) }}",
    )


two = lambda low, high: st.lists(st.integers(low, high), min_size=2, max_size=2)  # noqa: E731


@given(
    st.integers(1, 3), two(4, 9), two(1, 3), two(1, 3), two(1, 2), st.lists(st.integers(0, 1), min_size=4, max_size=4)
)
@settings(max_examples=40, deadline=None)
def test_columns_are_added_as_they_are(channels, image, block, strides, dilations, pads):
    proto = folding("n", channels, image, block, strides, dilations, pads)
    assume(proto is not None)
    assert holds(proto, "col2im", sizes=[{"n": 2}]).ops == ["Reshape", "ConvTranspose"]


def plain(batch="n", copy=""):
    return folding(batch, 2, [4, 5], [2, 2], [1, 1], [1, 1], [0, 0, 0, 0], copy)


def without_channels():
    return parsed(
        "g (float[n,c,12] x) => (float[n,k,4,5] y) <int64[2] image = {4,5}, int64[2] block = {2,2}> "
        "{ y = Col2Im (x, image, block) }",
    )


GUARDS = {
    "the image's or the block's shape is not constant": lambda: plain(copy="copied"),
    "the number of channels is not known": without_channels,
}
