"""Who signed a build, and what a repository demands."""

import base64
import json

import pytest

pytest.importorskip("cryptography", reason="signing needs the extra `sign`")
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from shipped_builds import look, make_build

from trtbuild.errors import IntegrityError, UsageError
from trtbuild.shipping import Policy, open_storage, promote, read_model, read_shipment, ship
from trtbuild.shipping.envelope import PublicKey, opened, read_public_key
from trtbuild.shipping.shipment import ENVELOPE
from trtbuild.shipping.signing import sign_build, verify_build


def write_key(folder, name, key=None, password=None):
    key = key or Ed25519PrivateKey.generate()
    encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def build(tmp_path):
    return make_build(tmp_path / "build", 1)


@pytest.fixture
def keys(tmp_path):
    return write_key(tmp_path, "ours")


def demand(storage, *public):
    storage.records.mkdir(parents=True, exist_ok=True)
    document = {"required_keys": [file.read_text() for file in public]}
    (storage.records / "policy.json").write_text(json.dumps(document))


def test_a_signed_build_verifies(build, keys):
    sign_build(build, keys[0])
    assert verify_build(build, [read_public_key(keys[1])]) == build / ENVELOPE


def test_the_statement_is_in_toto_with_slsa_provenance(build, keys):
    sign_build(build, keys[0])
    statement = opened((build / ENVELOPE).read_bytes(), [read_public_key(keys[1])], "x")
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    manifest = json.loads((build / "manifest.json").read_text())
    subjects = {s["name"]: s["digest"]["sha256"] for s in statement["subject"]}
    assert subjects.items() >= {n: k["sha256"] for n, k in manifest["outputs"].items()}.items()
    assert set(subjects) - set(manifest["outputs"]) == {"manifest.json"}
    definition = statement["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["precision"] == "int8"
    assert {"name": "model", "digest": {"sha256": "2" * 64}} in definition["resolvedDependencies"]
    assert {"uri": "pkg:pypi/onnx@1.19.0"} in definition["resolvedDependencies"]
    assert not any("absent-package" in str(d) for d in definition["resolvedDependencies"])
    assert statement["predicate"]["runDetails"]["builder"]["version"] == {"trtbuild": "0.1.0"}


def test_the_signature_is_over_dsse_s_encoding(build, keys):
    """Worked out by hand from the protocol's text, so that other tools verify it."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    sign_build(build, keys[0])
    envelope = json.loads((build / ENVELOPE).read_text())
    payload = base64.b64decode(envelope["payload"])
    kind = b"application/vnd.in-toto+json"
    message = b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    load_pem_public_key(keys[1].read_bytes()).verify(signature, message)
    assert envelope["payloadType"].encode() == kind


def test_a_second_key_adds_its_signature(build, keys, tmp_path):
    other = write_key(tmp_path, "other")
    sign_build(build, keys[0])
    sign_build(build, other[0])
    sign_build(build, other[0])
    assert len(json.loads((build / ENVELOPE).read_text())["signatures"]) == 2
    verify_build(build, [read_public_key(keys[1]), read_public_key(other[1])])


def test_an_encrypted_key_needs_its_password(build, tmp_path):
    private, public = write_key(tmp_path, "locked", password="secret")
    with pytest.raises(UsageError, match="password"):
        sign_build(build, private)
    with pytest.raises(UsageError):
        sign_build(build, private, "wrong")
    sign_build(build, private, "secret")
    verify_build(build, [read_public_key(public)])


def other_key(build, keys, folder):
    sign_build(build, write_key(folder, "other")[0])


def no_signature(build, keys, folder):
    pass


def change_payload(build, keys, folder):
    sign_build(build, keys[0])
    envelope = json.loads((build / ENVELOPE).read_text())
    statement = base64.b64decode(envelope["payload"]).replace(b'"int8"', b'"fp32"')
    envelope["payload"] = base64.b64encode(statement).decode()
    (build / ENVELOPE).write_text(json.dumps(envelope))


def change_kind(build, keys, folder):
    sign_build(build, keys[0])
    (build / ENVELOPE).write_text((build / ENVELOPE).read_text().replace("in-toto+json", "other"))


def drop_signatures(build, keys, folder):
    sign_build(build, keys[0])
    envelope = json.loads((build / ENVELOPE).read_text())
    (build / ENVELOPE).write_text(json.dumps({**envelope, "signatures": []}))


def no_envelope(build, keys, folder):
    (build / ENVELOPE).write_text("signed, honestly")


def of_another_build(build, keys, folder):
    another = make_build(folder / "another", 2)
    sign_build(another, keys[0])
    (build / ENVELOPE).write_bytes((another / ENVELOPE).read_bytes())


WRONG = [other_key, no_signature, change_payload, change_kind, drop_signatures, no_envelope, of_another_build]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_signature_is_refused(build, keys, tmp_path, wrong):
    wrong(build, keys, tmp_path)
    with pytest.raises(IntegrityError):
        verify_build(build, [read_public_key(keys[1])])


@pytest.mark.parametrize("wrong", WRONG)
def test_a_repository_that_demands_a_signature_refuses_a_wrong_one(build, keys, tmp_path, wrong):
    storage = open_storage(tmp_path / "models")
    demand(storage, keys[1])
    before = make_build(tmp_path / "before", 9)
    sign_build(before, keys[0])
    ship(storage, read_shipment(before))
    wrong(build, keys, tmp_path)
    with pytest.raises(IntegrityError):
        ship(storage, read_shipment(build))
    assert look(tmp_path / "models") == {"net": [1]}
    assert [v.number for v in read_model(storage, "net").versions] == [1], "nothing was put there"
    (build / ENVELOPE).unlink(missing_ok=True)
    sign_build(build, keys[0])
    assert ship(storage, read_shipment(build)).served == (2,)


def test_a_tampered_file_is_refused_though_its_manifest_was_made_to_fit(build, keys):
    """The digest is right, the signature is of the manifest before."""
    sign_build(build, keys[0])
    edited = make_build(build, 2)
    with pytest.raises(IntegrityError, match="another build"):
        verify_build(edited, [read_public_key(keys[1])])


def test_a_tampered_file_is_not_signed(build, keys):
    (build / "model_repository/net/1/model.plan").write_bytes(b"another")
    with pytest.raises(IntegrityError, match="model.plan"):
        sign_build(build, keys[0])
    assert not (build / ENVELOPE).exists()


def test_every_demanded_key_must_have_signed(build, keys, tmp_path):
    other = write_key(tmp_path, "other")
    storage = open_storage(tmp_path / "models")
    demand(storage, keys[1], other[1])
    sign_build(build, keys[0])
    with pytest.raises(IntegrityError, match="key 1 has not signed"):
        ship(storage, read_shipment(build))
    sign_build(build, other[0])
    assert ship(storage, read_shipment(build)).served == (1,)


def test_a_demand_made_later_holds_for_what_is_promoted(build, keys, tmp_path):
    storage = open_storage(tmp_path / "models")
    ship(storage, read_shipment(build))
    signed = make_build(tmp_path / "signed", 2)
    sign_build(signed, keys[0])
    ship(storage, read_shipment(signed))
    demand(storage, keys[1])
    with pytest.raises(IntegrityError, match="not signed"):
        promote(storage, "net", 1)
    assert promote(storage, "net", 2).served == (2,)


def test_a_key_given_to_ship_is_demanded_too(build, keys, tmp_path):
    storage = open_storage(tmp_path / "models")
    asked = Policy((read_public_key(keys[1]),))
    with pytest.raises(IntegrityError, match="not signed"):
        ship(storage, read_shipment(build), keys=asked)
    sign_build(build, keys[0])
    assert ship(storage, read_shipment(build), keys=asked).served == (1,)


@pytest.mark.parametrize(
    "text", ["", "{}", '{"required_keys": []}', '{"required_keys": "x"}', '{"required_keys": ["x"], "also": 1}', "[1]"]
)
def test_a_policy_that_cannot_be_read_lets_nothing_through(build, tmp_path, text):
    storage = open_storage(tmp_path / "models")
    storage.records.mkdir(parents=True)
    (storage.records / "policy.json").write_text(text)
    with pytest.raises(IntegrityError, match="policy"):
        ship(storage, read_shipment(build))
    assert not (tmp_path / "models").exists()


def test_what_is_no_ed25519_key_is_refused(build, keys, tmp_path):
    private, public = write_key(tmp_path, "curve", generate_private_key(SECP256R1()))
    with pytest.raises(UsageError, match="Ed25519"):
        sign_build(build, private)
    with pytest.raises(UsageError, match="Ed25519"):
        read_public_key(public)
    for file in (tmp_path / "nothing.pem", keys[1]):
        with pytest.raises(UsageError):
            sign_build(build, file)
    with pytest.raises(UsageError, match="public key in PEM"):
        _ = PublicKey("text", "here").key_id
