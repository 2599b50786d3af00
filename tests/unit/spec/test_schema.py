import json
import re

import pytest

from trtbuild.spec import Spec

SCHEMA = Spec.model_json_schema()


def every_object(schema):
    yield "Spec", schema
    yield from schema.get("$defs", {}).items()


def references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from references(item)


def test_it_is_json_and_its_references_lead_somewhere():
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    assert set(references(SCHEMA)) <= {f"#/$defs/{name}" for name in SCHEMA["$defs"]}
    assert SCHEMA["type"] == "object"


@pytest.mark.parametrize(("name", "schema"), list(every_object(SCHEMA)), ids=lambda v: v if isinstance(v, str) else "")
def test_every_block_is_closed_and_its_required_keys_exist(name, schema):
    if schema.get("type") == "object":
        assert schema["additionalProperties"] is False
        assert set(schema.get("required", ())) <= set(schema["properties"])


@pytest.mark.parametrize(
    "block", ["ModelSpec", "CalibrationSpec", "AccuracySpec", "BuildSpec", "TritonSpec", "InputSpec"]
)
def test_every_key_is_described(block):
    for key, schema in SCHEMA["$defs"][block]["properties"].items():
        assert schema.get("description"), f"{block}.{key}"


def test_it_names_the_precisions_and_takes_targets_by_name():
    assert SCHEMA["properties"]["precision"]["enum"] == [
        "fp32", "tf32", "fp16", "bf16", "int8", "fp8", "int8_weights", "int4", "best",
    ]  # fmt: skip
    kinds = SCHEMA["properties"]["targets"]["items"]["anyOf"]
    assert {"type": "string"} in kinds
    assert any("$ref" in k for k in kinds)


def every_value(value, key):
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == key and not isinstance(inner, dict):
                yield inner
            yield from every_value(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from every_value(inner, key)


def test_types_are_those_of_json_and_patterns_compile():
    assert set(every_value(SCHEMA, "type")) <= {"object", "array", "string", "integer", "number", "boolean", "null"}
    assert [re.compile(pattern) for pattern in every_value(SCHEMA, "pattern")]
