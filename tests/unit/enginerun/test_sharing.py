"""The context is handed back as it was found, whatever happens. A stand-in for pycuda, with its names."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from trtbuild.enginerun.sharing import primary_context
from trtbuild.errors import BuildError, MissingDependencyError


@pytest.fixture
def stack(monkeypatch):
    """What contexts are current; two GPUs, of 8.6 and 8.9."""
    stack = ["torch's"]

    class Error(Exception):
        pass

    class MemoryError(Error):  # noqa: A001
        pass

    class Device:
        def __init__(self, number):
            self.number = number

        @staticmethod
        def count():
            return 2

        def compute_capability(self):
            return (8, (6, 9)[self.number])

        def name(self):
            return f"GPU {self.number}"

        def pci_bus_id(self):
            return f"0000:0{self.number}:00.0"

        def retain_primary_context(self):
            return SimpleNamespace(push=lambda: stack.append(f"primary {self.number}"))

    driver = ModuleType("pycuda.driver")
    context = SimpleNamespace(pop=stack.pop)
    driver.__dict__.update(init=lambda: None, Device=Device, Context=context, Error=Error, MemoryError=MemoryError)
    package = ModuleType("pycuda")
    package.driver = driver
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)
    return stack


def test_the_gpu_of_the_plans_capability_is_taken_and_handed_back(stack):
    with primary_context("8.9") as device:
        assert stack == ["torch's", "primary 1"]
        assert (device.name, device.bus, device.compute_capability) == ("GPU 1", "0000:01:00.0", "8.9")
    assert stack == ["torch's"]


def test_the_first_is_taken_where_none_is_asked_for(stack):
    with primary_context() as device:
        assert device.compute_capability == "8.6"
        assert stack[-1] == "primary 0"


def test_another_capability_is_an_error_that_names_those_there_are(stack):
    with pytest.raises(MissingDependencyError, match=r"9\.0; there is 8\.6, 8\.9"), primary_context("9.0"):
        pass
    assert stack == ["torch's"]


@pytest.mark.parametrize(("name", "hint"), [("MemoryError", "smaller shapes"), ("Error", "driver's own")])
def test_what_the_driver_refuses_is_an_error_of_ours_and_the_context_is_handed_back(stack, name, hint):
    def refuse():
        with primary_context("8.6") as device:
            raise getattr(device.cuda, name)("no")

    with pytest.raises(BuildError, match="refuses: no") as caught:
        refuse()
    assert hint in caught.value.hint
    assert stack == ["torch's"]


def test_without_pycuda_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycuda", None)
    with pytest.raises(MissingDependencyError, match="pycuda") as caught, primary_context():
        pass
    assert "trtbuild[gpu]" in caught.value.hint
