import pytest
from plan_values import X, profile

from trtbuild.benchmark.points import Point, point_given, points_of
from trtbuild.errors import UsageError

TWO = profile(batch=(1, 8, 32), seq=(8, 128, 256))


def test_opt_comes_first_and_the_ends_after_it():
    assert points_of([TWO], "ends") == [
        Point({"batch": 8, "seq": 128}, 0, "opt"),
        Point({"batch": 1, "seq": 8}, 0, "min"),
        Point({"batch": 32, "seq": 256}, 0, "max"),
    ]
    assert [p.end for p in points_of([TWO], "opt")] == ["opt"]


def test_each_axis_alone_stands_at_its_end_while_the_others_are_at_opt():
    alone = [p for p in points_of([TWO], "axes") if p.axis]
    assert [(p.end, p.axis, dict(p.sizes)) for p in alone] == [
        ("min", "batch", {"batch": 1, "seq": 128}),
        ("min", "seq", {"batch": 8, "seq": 8}),
        ("max", "batch", {"batch": 32, "seq": 128}),
        ("max", "seq", {"batch": 8, "seq": 256}),
    ]


def test_one_varying_axis_needs_no_point_of_its_own_and_an_end_that_is_opt_is_left_out():
    assert [(p.end, p.axis) for p in points_of([profile(batch=(8, 8, 32), seq=(16, 16, 16))], "axes")] == [
        ("opt", None),
        ("max", None),
    ]


def test_profiles_are_numbered():
    assert [p.profile for p in points_of([TWO, TWO], "opt")] == [0, 1]


def test_items_are_the_product_of_the_sizes():
    assert points_of([TWO], "opt")[0].items == 1024
    assert Point({}).items == 1


def test_without_a_profile_there_is_one_point():
    assert points_of([], "ends") == [Point({})]


def test_given_shapes_name_axes():
    assert point_given([X], {"x": [4, 3, 16]}, "m") == Point({"batch": 4, "height": 16})


@pytest.mark.parametrize(
    ("shapes", "said"), [({"z": [1]}, "no input 'z'"), ({"x": [1, 2]}, "has 3 axes, the shape \\[1, 2\\] has 2")]
)
def test_shapes_that_fit_nothing_are_refused(shapes, said):
    with pytest.raises(UsageError, match=said):
        point_given([X], shapes, "m")
