"""What an engine reads and writes, as values: names, types, places, profiles. Not run on a GPU by us."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trtbuild.enginerun.arrays import dtype_of
from trtbuild.enginerun.profiles import Ranges, Shape
from trtbuild.errors import IntegrityError


@dataclass(frozen=True)
class Port:
    """One input or output.

    Attributes:
        name: Its name.
        dtype: NumPy dtype.
        is_input: True for an input.
        on_host: True for a shape tensor: TensorRT reads or writes it in the CPU's memory.
    """

    name: str
    dtype: Any
    is_input: bool
    on_host: bool


@dataclass(frozen=True)
class Interface:
    """All of an engine's ports, and its profiles by shape; a shape tensor's ranges are of its values."""

    ports: tuple[Port, ...]
    profiles: tuple[Ranges, ...]

    @property
    def inputs(self) -> tuple[Port, ...]:
        """The inputs, in the engine's order."""
        return tuple(port for port in self.ports if port.is_input)

    @property
    def outputs(self) -> tuple[Port, ...]:
        """The outputs, in the engine's order."""
        return tuple(port for port in self.ports if not port.is_input)


def read_interface(trt: Any, engine: Any) -> Interface:
    """Reads them from a loaded engine.

    Raises:
        IntegrityError: A port has a layout or a type that we do not feed.
    """
    ports = tuple(_port(trt, engine, engine.get_tensor_name(index)) for index in range(engine.num_io_tensors))
    inputs = [port for port in ports if port.is_input]
    profiles = tuple(
        {port.name: _ranges(engine, port, number) for port in inputs}
        for number in range(engine.num_optimization_profiles)
    )
    return Interface(ports, profiles)


def _port(trt: Any, engine: Any, name: str) -> Port:
    if engine.get_tensor_format(name) != trt.TensorFormat.LINEAR:
        raise IntegrityError(
            f"{name!r} lies in memory as {engine.get_tensor_format_desc(name)}",
            place="engine",
            hint="trtbuild feeds row-major tensors; build without allowed formats",
        )
    return Port(
        name,
        dtype_of(engine.get_tensor_dtype(name).name, name),
        engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
        engine.get_tensor_location(name) == trt.TensorLocation.HOST,
    )


def _ranges(engine: Any, port: Port, number: int) -> tuple[Shape, Shape, Shape]:
    if port.on_host:
        found = engine.get_tensor_profile_values(number, port.name)  # the profile comes first here, and last below
    else:
        found = engine.get_tensor_profile_shape(port.name, number)
    low, opt, high = (tuple(int(d) for d in dims) for dims in found)
    return low, opt, high


def asked_shapes(interface: Interface, feed: Mapping[str, Any]) -> dict[str, Shape]:
    """What a profile must take: each input's shape, of a shape tensor its values."""
    return {
        port.name: tuple(int(v) for v in feed[port.name].reshape(-1)) if port.on_host else tuple(feed[port.name].shape)
        for port in interface.inputs
    }
