import subprocess
import sys

import pytest

from trtbuild.errors import UsageError
from trtbuild.registry import Registry, nearest_hint

RULES = Registry("trtbuild.rewriter.rules", "rule")
REGISTRIES = [
    RULES,
    Registry("trtbuild.calibration.methods", "calibration method"),
    Registry("trtbuild.backends", "backend"),
]


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda r: r.noun)
def test_every_plug_in_says_in_one_line_what_it_does_and_can_be_loaded(registry):
    found = registry.summaries()
    assert list(found) == sorted(found)
    assert found
    for name, summary in found.items():
        assert summary
        assert not summary.endswith(".")
        assert registry.load(name).__name__ == f"{registry.package}.{name}"


def test_an_unknown_name_is_an_error_with_the_nearest():
    with pytest.raises(UsageError, match="conv_batchnorm") as caught:
        RULES.load("conv_batchnrom")
    assert "there is no rule 'conv_batchnrom'" in str(caught.value)


def test_the_package_itself_is_no_plug_in():
    assert "__init__" not in RULES.summaries()
    with pytest.raises(UsageError):
        RULES.load("__init__")


def test_nearest_hint_lists_all_when_nothing_is_near():
    assert nearest_hint("entopy", ["entropy", "mse"]) == "did you mean 'entropy'?"
    assert nearest_hint("zzz", ["entropy", "mse"]) == "known: entropy, mse"


def test_listing_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from trtbuild.registry import Registry\n"
        "for p in ('rewriter.rules', 'calibration.methods', 'backends'):\n"
        "    assert Registry('trtbuild.' + p, 'x').summaries()\n"
        "heavy = {'numpy', 'onnx', 'onnxruntime', 'onnx_graphsurgeon', 'torch', 'tensorrt_rtx', 'pydantic'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
