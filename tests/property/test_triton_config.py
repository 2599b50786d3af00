"""Whatever plan and settings: the derived config has no fault, and its text says the same when it is read back."""

import tempfile
from pathlib import Path

import plan_values
from hypothesis import given, settings
from hypothesis import strategies as st

from trtbuild.artifacts import TensorSpec
from trtbuild.spec import TritonSpec
from trtbuild.triton.checks import Premises, problems
from trtbuild.triton.config import model_config
from trtbuild.triton.messages import read_text, write_text

FLOATS = st.sampled_from(["float32", "float16", "int64", "int32", "int8", "bool", "bfloat16"])
RANGES = st.tuples(*[st.integers(1, 40)] * 3).map(sorted).map(tuple)
AXES = ("batch", "height", "width")


@st.composite
def plans(draw):
    """A plan of any ranks, types and profiles; its tensors may or may not share a batch axis."""
    size = st.one_of(st.integers(1, 9), st.sampled_from(AXES))
    batched = draw(st.booleans())
    inner = st.lists(size.filter(lambda s: s != "batch"), max_size=3)
    shapes = inner.map(lambda s: ("batch", *s)) if batched else st.lists(size, min_size=1, max_size=3).map(tuple)
    ins, outs = (draw(st.lists(st.tuples(FLOATS, shapes), min_size=1, max_size=3)) for _ in range(2))
    profiles = draw(st.lists(st.fixed_dictionaries(dict.fromkeys(AXES, RANGES)), min_size=1, max_size=3))
    with tempfile.TemporaryDirectory() as folder:
        return plan_values.plan(
            Path(folder),
            inputs=tuple(TensorSpec(f"in{n}", kind, shape) for n, (kind, shape) in enumerate(ins)),
            outputs=tuple(TensorSpec(f"out{n}", kind, shape) for n, (kind, shape) in enumerate(outs)),
            profiles=tuple(plan_values.profile(**p) for p in profiles),
        )


@given(
    plan=plans(),
    graphs=st.booleans(),
    batching=st.booleans(),
    warmup=st.integers(0, 2),
    groups=st.sampled_from(["auto", "each", "one"]),
)
@settings(max_examples=60, deadline=None)
def test_a_derived_config_has_no_fault(plan, graphs, batching, warmup, groups):
    asked = TritonSpec(cuda_graphs=graphs, dynamic_batching=batching, warmup=warmup, profile_groups=groups)
    config = model_config("net", plan, {"8.9": "model.plan"}, asked, provenance={"trtbuild.x": '"\\n€'}, labels={})
    premises = Premises("net", frozenset({"1/model.plan"}), plan)
    assert problems(config, premises) == []
    assert read_text(write_text(config), "config.pbtxt") == config
    largest = max((s.batch_size for s in config.model_warmup), default=0)
    if warmup and config.max_batch_size:
        assert largest == config.max_batch_size
    assert {p for g in config.instance_group for p in g.profile} == (
        {str(n) for n in range(len(plan.profiles))} if len(plan.profiles) > 1 else set()
    )
