"""Other interpreters: a virtual environment that sees this one's packages stands for one with a TensorRT of its own."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from trtbuild import worker
from trtbuild.artifacts import BuildOptions, Target, to_json
from trtbuild.errors import MissingDependencyError, UsageError
from trtbuild.interpreters import hold_package, interpreter


def environment(folder, *, sees_packages):
    """A real virtual environment, without pip; its Python is another path and has another list of packages."""
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    python = folder / "bin" / "python"
    if sees_packages:
        packages = next((folder / "lib").glob("python*/site-packages"))
        (packages / "those_of_the_tests.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return str(python)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return environment(tmp_path_factory.mktemp("full") / "venv", sees_packages=True)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    return environment(tmp_path_factory.mktemp("bare") / "venv", sees_packages=False)


def script(folder, text):
    file = folder / "python"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(file)


def test_an_interpreter_tells_its_version_and_its_packages(full):
    found = interpreter(full, "click")
    assert found.version == sys.version_info[:2]
    assert found.versions(["click", "no-such-thing"], "click")["click"] == found.packages["click"]
    assert found.versions(["no-such-thing"], "click")["no-such-thing"] == "absent"
    assert hold_package(full, "click", "click") is found, "asked once a process"


def test_an_interpreter_without_the_package_says_what_to_install(bare):
    with pytest.raises(MissingDependencyError, match="no package 'tensorrt_rtx'") as caught:
        hold_package(bare, "tensorrt_rtx", "tensorrt-rtx")
    assert caught.value.hint.startswith(f"{bare} -m pip install tensorrt-rtx")


def test_a_package_that_cannot_be_imported_is_said_to_be_broken(tmp_path):
    python = environment(tmp_path / "venv", sees_packages=False)
    packages = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    (packages / "tensorrt.py").write_text("raise OSError('libnvinfer.so.10: cannot open shared object file')\n")
    with pytest.raises(MissingDependencyError, match=r"libnvinfer\.so\.10: cannot open"):
        hold_package(python, "tensorrt", "tensorrt")


def test_a_path_without_interpreter_is_refused(tmp_path, bare):
    with pytest.raises(UsageError, match="there is no such Python"):
        interpreter(str(tmp_path / "nothing"), "click")
    folder = str(Path(bare).parent.parent)
    with pytest.raises(UsageError, match="there is no such Python") as caught:
        interpreter(folder, "click")
    assert caught.value.hint == f"name the interpreter, not its folder: {bare}"


@pytest.mark.parametrize(
    ("text", "said"),
    [("echo hello", "no Python that answers"), ("echo broken >&2; exit 3", "no Python that answers: broken")],
)
def test_what_is_no_python_is_refused(tmp_path, text, said):
    with pytest.raises(UsageError, match=said):
        interpreter(script(tmp_path, text), "click")


def test_a_python_that_is_too_old_is_refused(tmp_path):
    answer = json.dumps({"version": [3, 9], "distributions": {}, "packages": {}})
    with pytest.raises(MissingDependencyError, match=r"it is Python 3\.9"):
        interpreter(script(tmp_path, f"echo '{answer}'"), "click")


def test_the_current_folder_and_this_pythons_variables_do_not_mislead_it(bare, tmp_path, monkeypatch):
    (tmp_path / "tensorrt.py").write_text("__version__ = 'the wrong one'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="no package 'tensorrt'"):
        hold_package(bare, "tensorrt", "tensorrt")


def test_the_worker_runs_with_an_interpreter_that_has_nothing_installed(bare):
    """All that runs in the child needs the standard library only; what it misses here is TensorRT."""
    request = {"target": to_json(Target("rtx4090", "tensorrt_rtx", "8.9")), "options": to_json(BuildOptions())}
    for function in ("build_plan", "try_options"):
        with pytest.raises(MissingDependencyError, match="tensorrt_rtx"):
            worker.call(f"trtbuild.engine.building:{function}", request, python=bare)
    with pytest.raises(MissingDependencyError, match="tensorrt_rtx"):
        worker.call("trtbuild.engine.parsing:refused", {"backend": "tensorrt_rtx"}, python=bare)


def test_the_childs_modules_need_no_third_party_package():
    """Held in this interpreter, where every package is there to be imported by mistake."""
    code = (
        "import sys\nimport trtbuild.engine.building, trtbuild.engine.parsing\n"
        "found = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*sorted(found & {'pydantic', 'numpy', 'onnx', 'click', 'polygraphy', 'ml_dtypes', 'filelock'}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == ""
