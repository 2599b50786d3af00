"""What can be known of the images without building them; `make lint-docker` runs the linters."""

import json
import re
from importlib import resources
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
FILES = sorted(DOCKER.glob("*.Dockerfile"))
COMPOSE = YAML(typ="safe").load((DOCKER / "compose.yaml").read_text())


def instructions(file):
    """(word, rest) of each instruction, continued lines joined."""
    text = re.sub(r"\\\n", " ", "\n".join(x for x in file.read_text().splitlines() if not x.startswith("#")))
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


def tag(file):
    (default,) = (rest.partition("=")[2] for word, rest in instructions(file) if rest.startswith("BASE_IMAGE="))
    return default.partition(":")[2]


def test_there_are_three():
    assert [f.stem for f in FILES] == ["tensorrt10", "tensorrt11", "tensorrt_rtx"]


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_an_image_is_pinned_runs_as_nobody_special_and_constrains_every_install(file):
    found = instructions(file)
    assert tag(file) not in ("", "latest")
    assert {rest.split()[0] for word, rest in found if word == "FROM"} == {"${BASE_IMAGE}"}
    users = [rest for word, rest in found if word == "USER"]
    assert users == ["1000:1000"]
    assert [word for word, _ in found][-2:] == ["ENTRYPOINT", "CMD"]
    installs = re.findall(r"pip install [^&]*", " ".join(rest for _, rest in found))
    assert installs
    assert all("--constraint" in command for command in installs)


def test_the_two_lines_of_tensorrt_differ_in_nothing_but_the_line():
    ten, eleven = (f.read_text().splitlines() for f in FILES[:2])
    different = [(a, b) for a, b in zip(ten, eleven, strict=True) if a != b]
    assert [re.sub(r"\d", "", a) == re.sub(r"\d", "", b) for a, b in different] == [True] * 3
    assert ("ARG LINE=10", "ARG LINE=11") in different


def test_the_bases_have_the_tensorrt_that_the_table_of_releases_says():
    rows = {r[0]: r[2] for r in json.loads((resources.files("trtbuild.triton") / "releases.json").read_text())}
    for file, line in zip(FILES[:2], ("10", "11"), strict=True):
        release = tag(file).removesuffix("-py3")
        assert rows[release].split(".")[0] == line


def test_what_is_copied_is_let_through_and_is_all_that_the_wheel_needs():
    let_through = {x[1:] for x in (ROOT / ".dockerignore").read_text().splitlines() if x.startswith("!")}
    project = (ROOT / "pyproject.toml").read_text()
    shipped = set(re.findall(r'^"(\w+)" = "trtbuild/_shipped', project, re.MULTILINE))
    assert {
        "trtbuild",
        "pyproject.toml",
        "hatch_build.py",
        "constraints.txt",
        "README.md",
        "LICENSE",
    } | shipped == let_through
    assert all((ROOT / name).exists() for name in let_through)


def test_compose_serves_with_the_release_that_it_builds_with():
    services = COMPOSE["services"]
    assert services["build"]["image"] == "trtbuild:${TRTBUILD_TAG:-tensorrt10}"
    assert services["triton"]["image"].endswith(f":${{TRITON_TAG:-{tag(FILES[0])}}}")
    assert services["triton"]["depends_on"] == {"build": {"condition": "service_completed_successfully"}}


@pytest.mark.parametrize("name", ["build", "triton"])
def test_a_service_has_no_more_rights_than_it_needs(name):
    service = COMPOSE["services"][name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"]
    assert not service["user"].startswith("0")
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert all(v.endswith(":ro") for v in service["volumes"] if "model_repository" in v)
