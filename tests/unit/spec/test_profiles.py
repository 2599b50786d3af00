import pytest

from trtbuild.artifacts import AxisRange, OptimizationProfile, TensorSpec
from trtbuild.errors import SpecError
from trtbuild.shipped import shipped_folder
from trtbuild.spec import check_profiles
from trtbuild.spec.profiles import shipped_profile

X = TensorSpec("x", "float32", ("batch", 3, "height"))
FIXED = TensorSpec("x", "float32", (1, 3))


def profile(**axes):
    return OptimizationProfile({k: AxisRange(*v) for k, v in axes.items()})


def test_a_profile_gives_every_input_its_shape():
    p = profile(batch=(1, 2, 4), height=(8, 16, 32))
    assert [p.shape(X, which) for which in ("min", "opt", "max")] == [(1, 3, 8), (2, 3, 16), (4, 3, 32)]


def test_profiles_that_fit_pass():
    check_profiles([X], [profile(batch=(1, 2, 4), height=(8, 16, 32))], "here")
    check_profiles([FIXED], [], "here")


@pytest.mark.parametrize(
    ("inputs", "profiles", "words"),
    [
        ([X], [], "no optimisation profile"),
        ([X], [profile(batch=(1, 1, 1))], "profile 0 has no sizes for axis 'height'"),
        ([X], [profile(batch=(1, 1, 1), height=(1, 1, 1)), profile(batch=(1, 1, 1))], "profile 1 has no sizes"),
        ([X], [profile(batch=(1, 1, 1), heigth=(1, 1, 1))], "did you mean 'height'"),
        ([FIXED], [profile(batch=(1, 1, 1))], "leave profiles out"),
    ],
)
def test_profiles_that_do_not_fit_are_refused(inputs, profiles, words):
    with pytest.raises(SpecError, match=words) as caught:
        check_profiles(inputs, profiles, "here")
    assert caught.value.place == "here"


@pytest.mark.parametrize("file", sorted((shipped_folder("profiles") / "shapes").glob("*.yaml")), ids=lambda f: f.stem)
def test_every_profile_that_ships_is_ordered(file):
    axes = shipped_profile(file.stem)
    assert axes
    assert all(1 <= low <= opt <= high for low, opt, high in axes.values())


def test_an_unknown_shipped_profile_is_refused_with_the_nearest():
    with pytest.raises(SpecError, match="did you mean 'image'"):
        shipped_profile("imag")
