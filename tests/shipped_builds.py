"""Builds as `trtbuild build` leaves them, small, and a reader that looks at a repository as Triton's poll does."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

CONFIG = """\
name: "{name}"
platform: "tensorrt_plan"
max_batch_size: {batch}
input {{ name: "x" data_type: TYPE_FP32 dims: 4 }}
output {{ name: "y" data_type: TYPE_FP32 dims: 2 }}
default_model_filename: "model.plan"
parameters {{ key: "trtbuild.plan.8.9" value {{ string_value: "{digest}" }} }}
"""

STEP = 'name: "{name}"\nbackend: "python"\n'
ENSEMBLE = (
    'name: "{name}"\nplatform: "ensemble"\nensemble_scheduling { step { model_name: "net" model_version: -1 } }\n'
)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def make_build(
    folder,
    number=1,
    *,
    name="net",
    passed=True,
    batch=8,
    size=2000,
    labels=None,
    serving="triton",
    extra=(),
    config_too="",
):
    """Writes a build whose plan is made of ``number``."""
    plan = f"plan {number} ".encode() * (size // 7)
    config = CONFIG.format(name=name, batch=batch, digest=sha256(plan)) + config_too
    if labels:
        config = config.replace('name: "y"', 'name: "y" label_filename: "labels.txt"')
    base = f"model_repository/{name}"
    files = {f"{base}/1/model.plan": plan, f"{base}/config.pbtxt": config.encode(), f"{name}.onnx": b"onnx"}
    files["golden/golden.json"] = b"{}"
    files |= {f"{base}/labels.txt": labels.encode()} if labels else {}
    files |= dict(extra)
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    document = {
        "schema": 1, "trtbuild": "0.1.0", "model": name, "precision": "int8", "passed": passed,
        "verified": [{"subject": "typed onnx", "sha256": "0" * 64, "passed": passed}],
        "inputs": {"spec": "1" * 64, "model": "2" * 64},
        "outputs": {path: {"sha256": sha256(data), "size": len(data)} for path, data in files.items()},
        "targets": [{"name": "rtx4090", "backend": "tensorrt", "compute_capability": "8.9"}],
        "profiles": [{"batch": [1, 4, batch]}], "serving": {name: serving}, "warnings": [],
        "versions": {"trtbuild": "0.1.0", "python": "3.11", "onnx": "1.19.0", "absent-package": "absent"},
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(document, indent=2) + "\n")
    return folder


def with_steps(folder, heads=("net",)):
    """A build whose plans have steps before and after them, and ensembles that join them."""
    extra = {}
    for head in heads:
        if head != "net":
            extra[f"model_repository/{head}/1/model.plan"] = b"plan"
            extra[f"model_repository/{head}/config.pbtxt"] = STEP.replace("{name}", head).encode()
        for kind, text in (("preprocess", STEP), ("postprocess", STEP), ("ensemble", ENSEMBLE)):
            name = f"{head}_{kind}"
            extra[f"model_repository/{name}/1/{'about.txt' if kind == 'ensemble' else 'model.py'}"] = kind.encode()
            extra[f"model_repository/{name}/config.pbtxt"] = text.replace("{name}", name).encode()
    build = make_build(folder, 1, extra=extra)
    document = json.loads((build / "manifest.json").read_text())
    document["serving"] = dict.fromkeys(heads, "triton")
    (build / "manifest.json").write_text(json.dumps(document))
    return build


def look(repository):
    """What a server that polls would find, worked out without trtbuild.

    Returns:
        Model to its served versions. An AssertionError says what of it a server could not serve.
    """
    found = {}
    for folder in sorted(Path(repository).iterdir()):
        assert folder.is_dir(), f"{folder} is no model"
        config = (folder / "config.pbtxt").read_text()
        name = re.search(r'^name: "(.*)"$', config, re.MULTILINE)
        assert name is not None, f"{folder}: half a config"
        assert name.group(1) == folder.name
        policy = re.search(r"version_policy \{\s*specific \{((?:\s*versions: \d+)+)\s*\}\s*\}", config)
        assert policy is not None, f"{folder}: nothing says what is served"
        for label in re.findall(r'label_filename: "(.*)"', config):
            assert (folder / label).is_file(), f"{folder}: its config names {label}"
        versions = [int(n) for n in re.findall(r"versions: (\d+)", policy.group(1))]
        for other in folder.iterdir():
            number = re.match(r"\s*[+-]?\d+", other.name)  # as std::stoll reads a name
            if other.is_dir() and number is not None:
                _whole(other, folder.name)
            else:
                assert other.is_file(), f"{other}: a server would load the model again for it"
        for version in versions:
            assert (folder / str(version)).is_dir(), f"{folder}: version {version} is served and not there"
        found[folder.name] = versions
    return found


def _whole(folder, model):
    manifest = json.loads((folder / "shipped" / "manifest.json").read_text())
    prefix = f"model_repository/{model}/1/"
    plans = {n.removeprefix(prefix): k for n, k in manifest["outputs"].items() if n.startswith(prefix)}
    assert plans, f"{folder}: no plan"
    for name, known in plans.items():
        assert sha256((folder / name).read_bytes()) == known["sha256"], f"{folder / name}: not the one of its manifest"


def plan_of(repository, model="net"):
    """The bytes of the plan that is served alone."""
    (version,) = look(repository)[model]
    return (Path(repository) / model / str(version) / "model.plan").read_bytes()


def play(scenario, folder, *before):
    """Runs a scenario of ``ship_scenarios.py`` in a process of its own; what it prints."""
    tests = Path(__file__).parent
    paths = [str(tests.parent), str(tests), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [*before, sys.executable, str(tests / "ship_scenarios.py"), scenario, str(folder)],
        capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
