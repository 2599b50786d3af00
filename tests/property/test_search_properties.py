"""The chain of a search, for any noises and costs."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from trtbuild.precision.searching.chain import Option, chain, worth_taking

numbers = st.floats(0, 1, allow_nan=False).map(lambda x: round(x, 3))
options = st.lists(
    st.builds(Option, st.sampled_from(["int8", "fp8", "int4"]), numbers, numbers), min_size=1, max_size=5
)


@given(options)
def test_what_is_worth_taking_trades_time_for_noise_at_a_falling_rate(made):
    kept = worth_taking(made)
    assert set(kept) <= set(made)
    assert all(a.cost < b.cost and a.noise > b.noise for a, b in pairwise(kept))
    rates = [(a.noise - b.noise) / (b.cost - a.cost) for a, b in pairwise(kept)]
    assert all(before > after - 1e-9 for before, after in pairwise(rates))
    for option in made:  # nothing that was left is better in both, and the two ends are there
        assert not any(option.cost <= k.cost and option.noise < k.noise for k in kept)
    assert kept[0].cost == min(o.cost for o in made)
    assert kept[-1].noise == min(o.noise for o in made)


@given(st.lists(options, min_size=1, max_size=6))
def test_along_the_chain_noise_falls_and_cost_rises_and_a_nodes_steps_are_in_order(made):
    nodes = {f"n{i}": worth_taking(o) for i, o in enumerate(made)}
    now = {node: kept[0] for node, kept in nodes.items()}
    for step in chain(nodes):
        assert now[step.node] == step.before
        assert step.after.cost > step.before.cost
        assert step.after.noise < step.before.noise
        now[step.node] = step.after
    assert now == {node: kept[-1] for node, kept in nodes.items()}
