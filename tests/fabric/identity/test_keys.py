"""The keys of one process: which are taken, from where, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fabric.errors import KeysError
from fabric.identity.keys import (
    FOLDER_VARIABLE,
    IDENTITY_VARIABLE,
    MAX_FILE_BYTES,
    from_environment,
    load,
    new_pair,
    public_of,
    read_private,
    read_rules,
)
from fabric.identity.rules import MESH
from tests.support.keys import KeyFolder


@pytest.fixture
def folder(tmp_path: Path) -> KeyFolder:
    return KeyFolder(tmp_path / "keys", {"p1": "proxy", "shop": "node", "bi": "guest"})


def test_a_proxy_and_a_node(folder: KeyFolder) -> None:
    proxy, node = load(folder.path, "p1", as_proxy=True), load(folder.path, "shop")
    assert (proxy.public, proxy.secret, proxy.mesh_secret) == (*folder.pairs["p1"], folder.mesh[1])
    assert (node.public, node.secret, node.mesh_secret) == (*folder.pairs["shop"], None)
    assert proxy.mesh == node.mesh == (folder.mesh[0],)
    shown = repr(proxy) + repr(node)
    assert not any(secret in shown for secret in (proxy.secret, node.secret, folder.mesh[1]))


def test_without_a_name_the_only_one_that_fits_is_taken(folder: KeyFolder) -> None:
    assert load(folder.path, as_proxy=True).name == "p1"
    with pytest.raises(KeysError, match="there are keys of bi, shop: say whose to use"):
        load(folder.path)
    (folder.path / "bi.key").unlink()
    assert load(folder.path).name == "shop"
    (folder.path / "shop.key").unlink()
    with pytest.raises(KeysError, match="there is no private key of any identity that is no proxy"):
        load(folder.path)


@pytest.mark.parametrize(
    ("name", "as_proxy", "error"),
    [
        ("eve", False, "keys.toml: invalid identity 'eve': expected one of bi, p1, shop"),
        ("shop", True, "keys.toml: 'shop' has the roles node, and needs `proxy`"),
    ],
)
def test_who_is_not_there(folder: KeyFolder, name: str, as_proxy: bool, error: str) -> None:
    with pytest.raises(KeysError, match=re.escape(error)):
        load(folder.path, name, as_proxy=as_proxy)


def test_a_key_that_was_changed_or_belongs_to_another_is_told(folder: KeyFolder) -> None:
    (folder.path / "shop.key").write_text(folder.pairs["bi"][1])
    with pytest.raises(KeysError, match=r"shop.key is no key of 'shop' in keys.toml: was it revoked or rotated\?"):
        load(folder.path, "shop")
    (folder.path / f"{MESH}.key").write_text(new_pair()[1])
    with pytest.raises(KeysError, match=r"mesh\.key is none of the keys under `mesh` in keys\.toml"):
        load(folder.path, "p1", as_proxy=True)


def test_while_a_key_is_changed_both_will_do(folder: KeyFolder) -> None:
    public, secret = new_pair()
    old = folder.pairs["shop"][0]
    folder.write(folder.text().replace(f'"{old}"', f'"{public}", "{old}"'))
    assert load(folder.path, "shop").public == old
    (folder.path / "shop.key").write_text(secret)
    assert load(folder.path, "shop").public == public
    mesh = new_pair()
    folder.write(folder.text().replace(f'"{folder.mesh[0]}"', f'"{folder.mesh[0]}", "{mesh[0]}"'))
    assert load(folder.path, "bi").mesh == (folder.mesh[0], mesh[0])
    (folder.path / f"{MESH}.key").write_text(mesh[1])
    assert load(folder.path, "p1", as_proxy=True).mesh_secret == mesh[1]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o601, 0o620])
def test_a_private_key_that_others_can_reach_is_refused(folder: KeyFolder, mode: int) -> None:
    path = folder.path / "shop.key"
    path.chmod(mode)
    with pytest.raises(KeysError, match=rf"can be read or changed by others \(mode {mode:04o}\): chmod 600 "):
        load(folder.path, "shop")
    path.chmod(0o400)
    assert load(folder.path, "shop").name == "shop"


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 41, b"\xff" * 40, b"a b" + b"x" * 37])
def test_what_is_no_private_key(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.key"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(KeysError, match=re.escape(str(path))) as caught:
        read_private(path)
    assert content.decode(errors="replace") not in str(caught.value) or not content, "what it holds is not told"


def test_files_that_are_not_there(folder: KeyFolder, tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="No such file or directory; `fabric keys init` makes a folder of keys"):
        read_rules(tmp_path)
    (folder.path / "shop.key").unlink()
    with pytest.raises(KeysError, match=r"shop.key: No such file or directory"):
        load(folder.path, "shop")
    (folder.path / f"{MESH}.key").unlink()
    with pytest.raises(KeysError, match=r"mesh.key: No such file or directory"):
        load(folder.path, "p1", as_proxy=True)


def test_rules_that_cannot_be_used_are_told_with_the_file(folder: KeyFolder) -> None:
    path = folder.path / "keys.toml"
    for content in (b"mesh = [", b"\xff\xfe", b""):
        path.write_bytes(content)
        with pytest.raises(KeysError, match=re.escape(str(path))):
            read_rules(folder.path)
    with open(path, "wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(KeysError, match=f"expected at most {MAX_FILE_BYTES} bytes"):
        read_rules(folder.path)


def test_the_environment_names_folder_and_identity(folder: KeyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.delenv(IDENTITY_VARIABLE, raising=False)
    assert from_environment() is None
    monkeypatch.setenv(FOLDER_VARIABLE, "")
    assert from_environment() is None
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder.path))
    with pytest.raises(KeysError, match="say whose to use"):
        from_environment()
    monkeypatch.setenv(IDENTITY_VARIABLE, "bi")
    found = [from_environment(), from_environment(name="shop"), from_environment(name="frame-1")]
    assert [each.name for each in found if each] == ["bi", "shop", "bi"]
    proxies = [from_environment(as_proxy=True), from_environment(as_proxy=True, name="p1")]
    assert [each.name for each in proxies if each] == ["p1", "p1"]
    assert (other := from_environment(as_proxy=True, name="p7")) and other.name == "p1"


def test_pairs_are_new_each_time_and_belong_together() -> None:
    pairs = [new_pair() for _ in range(3)]
    assert len({secret for _, secret in pairs}) == 3
    assert all(public_of(secret) == public for public, secret in pairs)


@pytest.mark.parametrize("what", ["", "keys.toml"])
def test_rules_that_anybody_may_change_are_refused(tmp_path: Path, what: str) -> None:
    folder = KeyFolder(tmp_path / "keys", {"a": "node"})
    target = folder.path / what if what else folder.path
    target.chmod(0o777)
    with pytest.raises(KeysError, match="can be changed by anybody on this machine: chmod o-w"):
        load(folder.path, "a")
    target.chmod(0o755)
    assert load(folder.path, "a").name == "a"
