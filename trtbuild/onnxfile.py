"""Reads and writes ONNX: the only place that does.

Loading checks what TensorRT accepts in silence or dies of: empty and truncated files, unknown opsets, NaN and Inf in
weights, external data outside the model's folder. Saving is deterministic, so equal graphs have equal digests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from trtbuild import onnxwire
from trtbuild.artifacts import StoredFile, TensorSpec
from trtbuild.errors import InvalidOnnxError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

EXTERNAL_DATA_ABOVE = 1 << 30
"""Bytes of weights above which they go to a file of their own: protobuf ends at 2 GiB."""

OLDEST_OPSET = 17

_SMALL = 4096  # bytes of a weight whose values shape inference may need
_CHUNK = 1 << 20  # bytes copied at a time
_ALIGNED = 4096  # bytes: weights begin where a memory page does, so that a reader can map them


def load(path: Path, *, weights: bool = True) -> ModelProto:
    """Reads an ONNX model.

    Args:
        path: The ``.onnx`` file.
        weights: Whether to read external data as well.

    Raises:
        InvalidOnnxError: The file is missing, empty, truncated, not ONNX, or reaches outside its folder.
    """
    import onnx
    from google.protobuf.message import DecodeError

    _hold_file(path)
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise InvalidOnnxError(
            "not an ONNX file, or a truncated one", place=str(path), hint="export or copy the model again"
        ) from error
    _hold_graph(model, path)
    external_files(model, path)
    if weights:
        try:
            onnx.load_external_data_for_model(model, str(path.parent))
        except (OSError, ValueError, onnx.checker.ValidationError) as error:
            raise InvalidOnnxError(
                f"its external data cannot be read: {error}", place=str(path), hint="copy the data file along"
            ) from error
    return model


def _hold_file(path: Path) -> None:
    if not path.is_file():
        raise InvalidOnnxError("there is no such file", place=str(path), hint="check the path of the ONNX model")
    if path.stat().st_size == 0:
        raise InvalidOnnxError("the file is empty", place=str(path), hint="export or copy the model again")


def _hold_graph(model: ModelProto, path: Path) -> None:
    if not model.graph.node and not model.graph.output:
        raise InvalidOnnxError(
            "the file holds no ONNX graph", place=str(path), hint="is it another protobuf, or cut short?"
        )


def outline(path: Path) -> ModelProto:
    """Reads an ONNX model and leaves its large weights on disk, in its own file where they lie there.

    For what needs their names, types and shapes only, or hands them to sessions that map them: it takes neither the
    time nor the memory that the weights would.

    Args:
        path: The ``.onnx`` file.

    Raises:
        InvalidOnnxError: As ``load``.
    """
    from onnx import TensorProto

    _hold_file(path)
    found = onnxwire.outline(path, _SMALL)
    if found is None or any(t.external_data for t in _tensors(found[0].graph)):
        light = load(path, weights=False)
        _hold_data(light, path)
        return light
    model, places = found
    _hold_graph(model, path)
    for number, (start, length) in places.items():
        tensor = model.graph.initializer[number]
        for key, value in (("location", path.resolve().name), ("offset", start), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        tensor.data_location = TensorProto.EXTERNAL
    return model


def _hold_data(model: ModelProto, path: Path) -> None:
    """Refuses data files that end before the weights in them do."""
    for tensor in _tensors(model.graph):
        if tensor.external_data:
            file, start, size = _place(tensor, path.parent)
            if start + size > file.stat().st_size:
                raise InvalidOnnxError(
                    f"its external data cannot be read: {file.name} ends before weight {tensor.name!r} does",
                    place=str(path),
                    hint="copy the data file along",
                )


def external_files(model: ModelProto, path: Path) -> tuple[Path, ...]:
    """The external data files of a model, each of them inside the model's folder.

    Raises:
        InvalidOnnxError: One is missing or lies outside the folder (also by a link).
    """
    folder = path.parent.resolve()
    locations = {entry.value for t in _tensors(model.graph) for entry in t.external_data if entry.key == "location"}
    found = []
    for location in sorted(locations):
        file = path.parent / location
        resolved = file.resolve()
        if Path(location).is_absolute() or not resolved.is_relative_to(folder):
            raise InvalidOnnxError(
                f"its external data {location!r} lies outside the model's folder",
                place=str(path),
                hint="a model may only name data files beside it; save it again with a plain file name",
            )
        if not resolved.is_file():
            raise InvalidOnnxError(
                f"its external data {location!r} is missing", place=str(path), hint=f"copy {location} to {path.parent}"
            )
        found.append(file)
    return tuple(found)


def stored(path: Path) -> StoredFile:
    """The digest of a model file and of its external data."""
    found = onnxwire.outline(path, _SMALL) if path.is_file() and path.stat().st_size else None
    if found is None:
        return StoredFile.of(path, external_files(load(path, weights=False), path))
    _hold_graph(found[0], path)
    return StoredFile.of(path, external_files(found[0], path))


def values(tensor: TensorProto, folder: Path) -> NDArray[Any]:
    """The values of a weight, read from its file when it lies in one.

    Args:
        tensor: The weight.
        folder: The folder of the model, where its data file lies.
    """
    import numpy as np
    import onnx

    return np.array(onnx.numpy_helper.to_array(tensor, base_dir=str(folder)))


def is_large(path: Path) -> bool:
    """Whether a model's weights are too many to be held in memory more than once."""
    return sum(f.stat().st_size for f in external_files(load(path, weights=False), path)) > EXTERNAL_DATA_ABOVE


def save(model: ModelProto, path: Path, *, folder: Path | None = None) -> StoredFile:
    """Writes a model, deterministically; large weights go to ``<name>.data`` beside it.

    Args:
        model: The model. Left unchanged, unless weights of it lie on disk: those lie in the new file after it.
        path: The ``.onnx`` file to write.
        folder: Where weights lie that are not in memory; they are copied one at a time.
    """
    import onnx

    if folder is not None and any(t.external_data for t in _tensors(model.graph)):
        return _save_from(model, path, folder)
    if weight_bytes(model) > EXTERNAL_DATA_ABOVE:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        onnx.save_model(copy, str(path), save_as_external_data=True, location=f"{path.name}.data", size_threshold=1024)
        return StoredFile.of(path, (path.with_name(f"{path.name}.data"),))
    with path.open("wb") as stream:
        stream.write(model.SerializeToString(deterministic=True))
    return StoredFile.of(path)


def save_whole(model: ModelProto, path: Path, folder: Path) -> StoredFile:
    """Writes a model into one file: the same as with all weights in memory, and they never are.

    Args:
        model: The model; left unchanged, unless its weights are too many for one file.
        path: The ``.onnx`` file to write.
        folder: Where weights lie that are not in memory.
    """
    stored = {n: t for n, t in enumerate(model.graph.initializer) if t.external_data}
    inner = any(t.external_data for t in _tensors(model.graph)) and not stored  # in the values of a node
    places = {number: _place(t, folder) for number, t in stored.items()}
    sizes = {number: size for number, (_, _, size) in places.items()}
    if inner or weight_bytes(model) + sum(sizes.values()) > EXTERNAL_DATA_ABOVE:
        return save(model, path, folder=folder)
    fresh = path.with_name(f"{path.name}.part")  # weights may lie in what is replaced
    with fresh.open("wb") as stream:
        for part in onnxwire.embedded(model.SerializeToString(deterministic=True), sizes):
            if isinstance(part, bytes):
                stream.write(part)
            else:
                _copy_bytes(*places[part], stream)
    fresh.replace(path)
    return StoredFile.of(path)


def _place(tensor: TensorProto, folder: Path) -> tuple[Path, int, int]:
    """The file that a weight lies in, where it begins, and how many bytes it has."""
    said = {e.key: e.value for e in tensor.external_data}
    file, start = folder / said["location"], int(said.get("offset", 0))
    return file, start, int(said["length"]) if "length" in said else file.stat().st_size - start


def _copy_bytes(file: Path, start: int, size: int, to: BinaryIO) -> None:
    with file.open("rb") as stream:
        stream.seek(start)
        while size and (chunk := stream.read(min(size, _CHUNK))):
            size -= to.write(chunk)


def _save_from(model: ModelProto, path: Path, folder: Path) -> StoredFile:
    """Moves every weight that is on disk, or large, into the data file beside ``path``."""
    data = path.with_name(f"{path.name}.data")
    _move_weights(model, data, folder)
    with path.open("wb") as stream:
        stream.write(model.SerializeToString(deterministic=True))
    return StoredFile.of(path, (data,))


def _move_weights(model: ModelProto, data: Path, folder: Path) -> None:
    from onnx import TensorProto

    fresh = data.with_name(f"{data.name}.part")  # weights may lie in what is replaced
    with fresh.open("wb") as stream:
        for tensor in _tensors(model.graph):
            if not tensor.external_data and len(tensor.raw_data) <= _SMALL:
                continue
            stream.write(bytes(-stream.tell() % _ALIGNED))
            start = stream.tell()
            raw = tensor.raw_data if tensor.HasField("raw_data") else values(tensor, folder).tobytes()
            stream.write(raw)
            tensor.ClearField("raw_data")
            del tensor.external_data[:]
            for key, value in (("location", data.name), ("offset", start), ("length", len(raw))):
                tensor.external_data.add(key=key, value=str(value))
            tensor.data_location = TensorProto.EXTERNAL
    fresh.replace(data)


def outlined(path: Path) -> tuple[ModelProto, Path]:
    """As ``outline``, with the folder that its weights lie in: a link's own weights lie beside what it points to."""
    model = outline(path)
    itself = any(_location(t) == path.resolve().name for t in model.graph.initializer)
    return model, path.resolve().parent if itself else path.parent


def with_weights_on_disk(path: Path, folder: Path) -> tuple[ModelProto, Path]:
    """A model whose large weights lie in a file, so that any number of sessions can map them.

    Args:
        path: The ``.onnx`` file; only read.
        folder: Where a data file is made, when the weights can be mapped in no file there is.

    Returns:
        The model, and the folder that the file with its weights lies in.
    """
    model, place = outlined(path)
    if any(t.external_data for t in _tensors(model.graph)):
        return model, place
    _move_weights(model, folder / f"{path.name}.data", folder)
    light = type(model)()
    light.ParseFromString(model.SerializeToString())  # the old message would keep what was cleared until it goes
    return light, folder


def without_weights(
    model: ModelProto, *, and_without: Callable[[TensorProto], bool] = lambda _tensor: False
) -> ModelProto:
    """A copy for shape inference: large weights become inputs of their shape, so that it is quick at any size.

    ONNX's inference needs the values of the small ones only (shapes, axes), and protobuf cannot hold 2 GiB.

    Args:
        model: The model.
        and_without: Says of a small weight whether it shall become an input too.
    """
    import onnx

    light = onnx.ModelProto(ir_version=model.ir_version)
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    graph = light.graph
    graph.name = model.graph.name or "graph"
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    graph.value_info.extend(model.graph.value_info)
    listed = {v.name for v in graph.input}
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) <= _SMALL and not tensor.external_data and not and_without(tensor):
            graph.initializer.append(tensor)
        elif tensor.name not in listed:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    return light


def with_graph(model: ModelProto, nodes: Iterable[NodeProto], weights: Iterable[TensorProto]) -> ModelProto:
    """A copy with other nodes and weights, and no copy of those it had: protobuf keeps what is taken out of a message.

    Args:
        model: The model; left unchanged.
        nodes: The copy's nodes.
        weights: The copy's weights.
    """
    copy = type(model)()
    for descriptor, value in model.ListFields():
        if descriptor.name != "graph":
            _set(copy, descriptor.name, value)
    for descriptor, value in model.graph.ListFields():
        if descriptor.name not in ("node", "initializer"):
            _set(copy.graph, descriptor.name, value)
    copy.graph.node.extend(nodes)
    copy.graph.initializer.extend(weights)
    return copy


def _set(message: Any, field: str, value: Any) -> None:
    """Sets a field to a value of another message of its kind."""
    if isinstance(value, (str, bytes, int, float)):
        setattr(message, field, value)
    else:
        getattr(message, field).MergeFrom(value)


def inferred(model: ModelProto) -> list[ValueInfoProto]:
    """Type and shape of every tensor that ONNX can infer, inputs and outputs among them."""
    import onnx

    done = onnx.shape_inference.infer_shapes(without_weights(model), data_prop=True).graph
    return [*done.input, *done.value_info, *done.output]


def forget_made_up_axes(graph: GraphProto) -> None:
    """Takes away, in place, the names that ONNX's inference makes up for sizes it does not know.

    It numbers them in another way each time (``unk__0``), so a graph that kept them would change at each run.
    """
    for each in graphs(graph):
        inner = () if each is graph else each.output
        for value in (*each.value_info, *inner):
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_param.startswith("unk__"):
                    dim.Clear()


def element_types(model: ModelProto) -> dict[str, int]:
    """ONNX element type of every tensor that ONNX can infer, weights included."""
    types = {v.name: v.type.tensor_type.elem_type for v in inferred(model)}
    return types | {t.name: t.data_type for t in model.graph.initializer}


def weight_bytes(model: ModelProto) -> int:
    """Bytes of the weights held in memory; protobuf's own count takes a serialisation's time."""
    return sum(len(t.raw_data) for t in _tensors(model.graph))


def check(model: ModelProto, place: str, *, saved: StoredFile | None = None, lean: bool = False) -> None:
    """Holds a model to ONNX's own checker and to what TensorRT does not check.

    Args:
        model: The model; its weights are in memory, or on disk beside ``saved``.
        place: How to name it in an error.
        saved: Where it lies on disk; a model beyond protobuf's limit is checked from there.
        lean: Whether ONNX's checker sees a large weight as an input of its type and shape, so that none is copied
            into it: for what we wrote ourselves.

    Raises:
        InvalidOnnxError: Malformed, an opset outside of what is supported, or NaN or Inf among the weights.
    """
    import onnx

    newest = onnx.defs.onnx_opset_version()
    version = opset(model)
    if version > newest:
        raise InvalidOnnxError(
            f"it uses opset {version}; the installed onnx package knows up to {newest}",
            place=place,
            hint="upgrade the onnx package, or export with an older opset",
        )
    on_disk = any(t.external_data for t in _tensors(model.graph))
    try:
        if lean:
            onnx.checker.check_model(without_weights(model), full_check=True)
        elif weight_bytes(model) < EXTERNAL_DATA_ABOVE and not on_disk:
            onnx.checker.check_model(model, full_check=True)
        elif saved is not None:
            onnx.checker.check_model(str(saved.path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        first = str(error).strip().split("\n", 1)[0]
        raise InvalidOnnxError(
            f"onnx.checker refuses it: {first}", place=place, hint="export the model again with a current exporter"
        ) from error
    bad = next(_nonfinite_weights(model.graph, saved.path.parent if saved is not None else Path()), None)
    if bad is not None:
        raise InvalidOnnxError(
            f"weight {bad!r} holds NaN or Inf", place=place, hint="TensorRT would build it in silence; mend the weights"
        )


def opset(model: ModelProto) -> int:
    """Version of the default operator domain; 0 when the model names none."""
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def inputs(model: ModelProto) -> tuple[TensorSpec, ...]:
    """Graph inputs that are not weights."""
    weights = {t.name for t in model.graph.initializer}
    return tuple(_tensor_spec(v) for v in model.graph.input if v.name not in weights)


def outputs(model: ModelProto) -> tuple[TensorSpec, ...]:
    """Graph outputs."""
    return tuple(_tensor_spec(v) for v in model.graph.output)


def _tensor_spec(value: object) -> TensorSpec:
    from onnx import helper

    tensor = value.type.tensor_type  # type: ignore[attr-defined]
    dims = tuple(
        d.dim_value if d.dim_value >= 0 and d.HasField("dim_value") else d.dim_param or f"{value.name}_{i}"  # type: ignore[attr-defined]
        for i, d in enumerate(tensor.shape.dim)
    )
    return TensorSpec(value.name, helper.tensor_dtype_to_np_dtype(tensor.elem_type).name, dims)  # type: ignore[attr-defined]


def reads(node: NodeProto) -> list[str]:
    """Names of what a node reads of the graph around it, from inside its subgraphs too."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                names.extend(reads(inner))
            names.extend(o.name for o in graph.output)
    return names


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph and all graphs inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from graphs(inner)


def _location(tensor: TensorProto) -> str | None:
    return next((e.value for e in tensor.external_data if e.key == "location"), None)


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    for each in graphs(graph):
        yield from each.initializer
        for node in each.node:
            yield from (a.t for a in node.attribute if a.HasField("t"))


def _nonfinite_weights(graph: GraphProto, folder: Path) -> Iterator[str]:
    import numpy as np
    from onnx import TensorProto, numpy_helper

    floats = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16}
    for tensor in _tensors(graph):
        if tensor.data_type in floats:
            found = numpy_helper.to_array(tensor, base_dir=str(folder))
            if tensor.data_type == TensorProto.BFLOAT16:
                found = found.astype(np.float32)
            # -inf is how exporters write an attention mask, a scalar or a small table; a weight has many elements
            largest = found.max() if found.size else 0.0  # NaN where there is one
            if np.isnan(largest) or (found.size > 1 and largest == np.inf):
                yield tensor.name
