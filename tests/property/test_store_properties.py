import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trtbuild.artifacts import StoredFile
from trtbuild.content import canonical_json
from trtbuild.store import Recipe, Store

words = st.text(max_size=8)
parameters = st.dictionaries(
    words, st.none() | st.booleans() | st.integers() | words | st.lists(st.integers(), max_size=3), max_size=3
)
FIELDS = {
    "stage": words, "code": words, "inputs": st.dictionaries(words, words, max_size=3), "parameters": parameters,
    "toolchain": st.dictionaries(words, words, max_size=3),
}  # fmt: skip
recipes = st.builds(Recipe, **FIELDS)


@dataclass(frozen=True)
class Result:
    files: tuple[StoredFile, ...]
    number: int


@given(recipes, st.sampled_from(sorted(FIELDS)), st.data())
def test_any_change_of_any_field_changes_the_key(recipe, field, data):
    value = data.draw(FIELDS[field])
    assume(canonical_json(value) != canonical_json(getattr(recipe, field)))
    assert dataclasses.replace(recipe, **{field: value}).key != recipe.key


@given(recipes)
def test_equal_recipes_have_equal_keys_whatever_the_order_of_their_parts(recipe):
    turned = {f: dict(reversed(list(getattr(recipe, f).items()))) for f in ("inputs", "parameters", "toolchain")}
    assert dataclasses.replace(recipe, **turned).key == recipe.key


@settings(max_examples=60)
@given(st.sampled_from(["a.bin", "b/c.bin", "result.json"]), st.integers(0, 10_000), st.integers(1, 255), st.booleans())
def test_a_corrupted_byte_never_reaches_the_result(name, position, change, cut):
    made = []

    def make(folder):
        made.append(1)
        (folder / "b").mkdir()
        (folder / "a.bin").write_bytes(bytes(range(40)))
        (folder / "b" / "c.bin").write_bytes(b"content")
        return Result((StoredFile.of(folder / "a.bin", (folder / "b" / "c.bin",)),), 7)

    with tempfile.TemporaryDirectory() as root:
        store, recipe = Store(Path(root)), Recipe("stage", "code", {})
        entry = store.get_or_make(recipe, Result, make).artifact.files[0].path.parent
        data = bytearray((entry / name).read_bytes())
        place = position % len(data)
        if cut:
            del data[place:]
        else:
            data[place] ^= change
        (entry / name).write_bytes(data)
        again = store.get_or_make(recipe, Result, make)
        if name != "result.json":  # a byte there may change and say the same, such as the case of \\u00E9
            assert (again.hit, len(made)) == (False, 2)
        (file,) = again.artifact.files
        assert again.artifact.number == 7
        assert file.path.read_bytes() == bytes(range(40))
        assert file.companions[0].path.read_bytes() == b"content"
        assert store.get_or_make(recipe, Result, make).hit
