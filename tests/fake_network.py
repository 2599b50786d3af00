"""What the network, the parser, the registry and the runtime of a fake TensorRT do."""

import json
from pathlib import Path

MAGIC = {"tensorrt": b"ptrt", "tensorrt_rtx": b"vtrt"}


class INetworkDefinition:
    def __init__(self, logger, flags):
        self._logger = logger
        self._flags, self._inputs, self._nodes = flags, [], []

    @property
    def num_inputs(self):
        return len(self._inputs)

    def get_input(self, index):
        return self._module._make("ITensor", self._inputs[index])

    def _described(self):
        rest = "Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 0"
        return [
            f"Name: {name}, LayerType: {op.lower()}, {rest}, Metadata: [ONNX Layer: {name}]" for name, op in self._nodes
        ]


class ITensor:
    def __init__(self, name):
        self._values = {"name": name}


class IOptimizationProfile:
    def __init__(self, logger):
        self._logger, self._shapes = logger, {}

    def set_shape(self, name, low, opt, high):
        self._shapes[name] = [list(low), list(opt), list(high)]

    def get_shape(self, name):
        return self._shapes.get(name, [])


class OnnxParser:
    """Reads names from the file; an operator ``Unknown`` is refused."""

    def __init__(self, network, logger):
        self._logger, self._network, self._refused = logger, network, []

    def parse_from_file(self, path):
        import onnx

        graph = onnx.load(path).graph
        self._network._inputs = [i.name for i in graph.input]
        self._network._nodes = [(n.name, n.op_type) for n in graph.node]
        self._refused = [n for n in graph.node if n.op_type == "Unknown"]
        return not self._refused

    @property
    def num_errors(self):
        return len(self._refused)

    def get_error(self, index):
        return self._module._make("ParserError", self._refused[index])


class ParserError:
    def __init__(self, node):
        self._node = node

    def desc(self):
        return "No importer registered for op: Unknown"

    def node_name(self):
        return self._node.name

    def node_operator(self):
        return self._node.op_type


class IPluginRegistry:
    def __init__(self, logger):
        self._logger = logger

    def load_library(self, path):
        if not Path(path).read_bytes().startswith(b"\x7fELF"):
            self._say("ERROR", f"IPluginRegistry::loadLibrary: Unable to load library: {path}")
            return None
        return object()


class Runtime:
    def __init__(self, logger):
        self._logger = logger

    def deserialize_cuda_engine(self, plan):
        if bytes(plan[:4]) != MAGIC[self._module.__name__]:
            self._say("ERROR", "IRuntime::deserializeCudaEngine: Error Code 1: Serialization")
            return None
        return self._module._make("ICudaEngine", self._logger, json.loads(bytes(plan)[64:]))


class ICudaEngine:
    def __init__(self, logger, held):
        self._logger, self._held = logger, held

    def create_engine_inspector(self):
        return self._module._make("EngineInspector", self._held)


class EngineInspector:
    def __init__(self, held):
        self._held = held

    def get_engine_information(self, form):
        """JSON only where it is asked for; what is not in a verbose engine is not told."""
        if form.name != "JSON":
            return "\n".join(self._held["layers"])
        if self._held["values"]["profiling_verbosity"] != "DETAILED":
            return json.dumps({"Layers": [name for name, _op in self._held["nodes"]]})
        layers = [
            {"Name": name, "LayerType": op, "Inputs": [], "Outputs": [], "Metadata": f"[ONNX Layer: {name}]"}
            for name, op in self._held["nodes"]
        ]
        return json.dumps({"Layers": layers})
