"""A folder of keys: what each change leaves, whatever stood in the file before, and what is refused."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fabric import private_files
from fabric.errors import KeysError
from fabric.identity import folder
from fabric.identity.keys import SUFFIX, load, new_pair, public_of, read_private, read_rules
from fabric.identity.rules import MESH

RULES = "keys.toml"


@pytest.fixture
def made(tmp_path: Path) -> Path:
    folder.create(tmp_path / "keys")
    return tmp_path / "keys"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def public(path: Path, name: str) -> str:
    return public_of(read_private(path / f"{name}{SUFFIX}"))


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_modes_are_the_same_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        folder.create(tmp_path / "k")
        folder.add(tmp_path / "k", "a")
        folder.rotate(tmp_path / "k", "a")
    finally:
        os.umask(before)
    assert mode(tmp_path / "k") == 0o700 and mode(tmp_path / "k" / RULES) == 0o644
    assert mode(tmp_path / "k" / "mesh.key") == mode(tmp_path / "k" / "a.key") == 0o600
    assert not list((tmp_path / "k").glob(".*.*")), "nothing is left of a file that was written"


def test_a_new_folder_holds_the_key_of_the_mesh_and_no_one_else(made: Path) -> None:
    rules = read_rules(made)
    assert rules.mesh == (public(made, MESH),) and not rules.identities
    assert (made / ".gitignore").read_text().splitlines()[0] == "*.key"


def test_the_example_of_a_role_can_be_used_as_it_stands(made: Path) -> None:
    text = (made / RULES).read_text()
    at = text.index("# [roles.shop]")
    example, _, rest = text[at:].partition("#\n")
    (made / RULES).write_text(text[:at] + example.replace("# ", "") + rest)
    assert read_rules(made).roles["shop"].deny_subscribe == ("orders/internal/#",)


def test_what_is_there_is_never_replaced(made: Path) -> None:
    before = (made / RULES).read_text(), (made / "mesh.key").read_text()
    with pytest.raises(KeysError, match="is there already: `fabric keys add NAME` adds to it"):
        folder.create(made)
    folder.add(made, "a")
    secret = (made / "a.key").read_text()
    with pytest.raises(KeysError, match="'a' is there already: `fabric keys rotate a`"):
        folder.add(made, "a")
    with pytest.raises(KeysError, match=r"a\.key is there already, and is not replaced"):
        folder.make_key(made, "a")
    assert (made / "a.key").read_text() == secret and before[1] == (made / "mesh.key").read_text()
    (made / "b.key").write_text("somebody's")
    text = (made / RULES).read_text()
    with pytest.raises(KeysError, match=r"b\.key is there already"):
        folder.add(made, "b")
    assert (made / "b.key").read_text() == "somebody's" and (made / RULES).read_text() == text


def test_a_mesh_whose_rules_were_lost_keeps_its_key(made: Path) -> None:
    key = public(made, MESH)
    (made / RULES).unlink()
    assert folder.create(made) == key


def test_an_identity_can_be_used_at_once(made: Path) -> None:
    key = folder.add(made, "shop-1", ["observer", "guest"])
    keys = load(made, "shop-1")
    assert keys.public == key and keys.mesh == read_rules(made).mesh
    folder.add(made, "p1", ["proxy"])
    assert load(made, as_proxy=True).name == "p1"


def test_a_key_that_was_made_elsewhere(made: Path) -> None:
    given, _ = new_pair()
    assert folder.add(made, "far", public=given) == given
    assert read_rules(made).identities["far"].keys == (given,) and not (made / "far.key").exists()
    with pytest.raises(KeysError, match="give the new public key with --public"):
        folder.rotate(made, "far")
    other, _ = new_pair()
    assert folder.rotate(made, "far", other) == other
    assert read_rules(made).identities["far"].keys == (other, given)
    assert folder.finish(made, "far") == other


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("mesh", "it stands for the key of the mesh"),
        ("a/b", "expected 1 to 100 characters without"),
        ("../x", "expected 1 to 100"),
        (".git", "no . in front"),
        ("", "expected 1 to 100"),
        ("a\nb", "printable"),
        ("ä" * 100, ""),
        ("字" * 67, "at most 200 bytes"),
    ],
)
def test_names_that_are_no_files(made: Path, name: str, why: str) -> None:
    before = sorted(made.iterdir())
    if not why:
        folder.add(made, name)
        assert load(made, name).name == name
        return
    for change in (folder.add, folder.revoke):
        with pytest.raises(ValueError, match=why):
            change(made, name)
    assert sorted(made.iterdir()) == before


def test_a_role_or_a_key_that_cannot_be_changes_nothing(made: Path) -> None:
    before = sorted(made.iterdir()), (made / RULES).read_text()
    with pytest.raises(ValueError, match="invalid role 'nope': expected one of frame, gateway"):
        folder.add(made, "a", ["nope"])
    with pytest.raises(ValueError, match="invalid public key 'short'"):
        folder.add(made, "a", public="short")
    given, _ = new_pair()
    folder.add(made, "b", public=given)
    text = (made / RULES).read_text()
    with pytest.raises(ValueError, match="is one of 'b'"):
        folder.add(made, "c", public=given)
    assert (made / RULES).read_text() == text and before[0] == sorted(made.iterdir())


def test_comments_and_what_else_a_person_wrote_stay(made: Path) -> None:
    (made / RULES).write_text(
        (made / RULES).read_text()
        + "\n# the stock of shops\n[roles.shop]\npublish = [\n  'orders/#',  # all of them\n]\n"
        + "\n[identities.late]  # not yet\nkeys = []\nroles = ['shop']\n"
    )
    folder.add(made, "a")
    folder.add(made, "b", ["shop"])
    folder.rotate(made, "a")
    folder.revoke(made, "b")
    text = (made / RULES).read_text()
    for line in ("# the stock of shops", "  'orders/#',  # all of them", "[identities.late]  # not yet"):
        assert line in text
    assert text.startswith("# Who may do what in this mesh") and set(read_rules(made).identities) == {"late", "a"}


@pytest.mark.parametrize(
    "written",
    [
        "[identities]\na = {keys = ['KEY'], roles = ['node']}\n",
        "identities.a.keys = ['KEY']\n",
        "[identities.a]\nkeys = ['KEY']\n[roles.x]\npublish = ['x']\n[identities.b]\nkeys = []\n",
        "[identities.\"a\"]\nroles = ['node', 'guest']\nkeys = [\n'KEY', # old\n]",
    ],
)
def test_a_file_in_any_form_is_changed_as_meant_or_not_at_all(made: Path, written: str) -> None:
    given, _ = new_pair()
    before = read_rules(made)
    head = f'mesh = ["{before.mesh[0]}"]\n'
    (made / RULES).write_text(head + written.replace("KEY", given))
    changes: list[Callable[[], object]] = [
        lambda: folder.add(made, "new"),
        lambda: folder.rotate(made, "a", new_pair()[0]),
    ]
    for change in changes:
        text, files = (made / RULES).read_text(), sorted(made.iterdir())
        try:
            change()
        except KeysError as error:
            assert "written in a way that cannot be changed here" in str(error)
            assert (made / RULES).read_text() == text and sorted(made.iterdir()) == files
    assert read_rules(made).identities["a"].keys[-1] == given


def test_rotation_goes_from_one_key_by_two_to_the_new_one(made: Path) -> None:
    old = folder.add(made, "a")
    running = load(made, "a")
    new = folder.rotate(made, "a")
    assert read_rules(made).identities["a"].keys == (new, old) and public(made, "a") == new
    assert running.public in read_rules(made).identities["a"].keys, "what runs goes on"
    with pytest.raises(KeysError, match=r"'a' has 2 keys: `fabric keys rotate a --finish`"):
        folder.rotate(made, "a")
    assert folder.finish(made, "a") == new and read_rules(made).identities["a"].keys == (new,)
    with pytest.raises(KeysError, match="is not being changed"):
        folder.finish(made, "a")


def test_the_key_of_the_mesh_is_rotated_likewise(made: Path) -> None:
    folder.add(made, "p1", ["proxy"])
    (old,) = read_rules(made).mesh
    new = folder.rotate(made, MESH)
    assert read_rules(made).mesh == (new, old), "links use the first"
    assert load(made, as_proxy=True).mesh_secret is not None and public(made, MESH) == new
    assert folder.finish(made, MESH) == new and read_rules(made).mesh == (new,)


def test_a_rotation_that_broke_off_is_ended_with_the_key_that_is_here(made: Path) -> None:
    """The file had the new key already, and the private one was not written."""
    old = folder.add(made, "a")
    secret = (made / "a.key").read_text()
    folder.rotate(made, "a")
    (made / "a.key").write_text(secret)
    assert folder.finish(made, "a") == old and load(made, "a").public == old


def test_a_private_key_that_cannot_be_written_takes_the_rotation_back(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = folder.add(made, "a")
    write = private_files.write

    def full(path: Path, content: bytes, mode: int = 0o600) -> None:
        if path.suffix == SUFFIX:
            raise OSError(28, "No space left on device")
        write(path, content, mode)

    monkeypatch.setattr(private_files, "write", full)
    with pytest.raises(KeysError, match=r"a\.key: No space left on device; nothing was changed"):
        folder.rotate(made, "a")
    assert read_rules(made).identities["a"].keys == (old,) and load(made, "a").public == old


def test_who_was_revoked_is_gone_with_the_private_key(made: Path) -> None:
    key = folder.add(made, "a")
    assert folder.revoke(made, "a") == (key,)
    assert "a" not in read_rules(made).identities and not (made / "a.key").exists()
    with pytest.raises(KeysError, match="invalid identity 'a': expected one that was added"):
        folder.revoke(made, "a")


def test_a_folder_that_others_can_write_in_is_not_used(made: Path) -> None:
    made.chmod(0o770)
    changes: list[Callable[[], object]] = [
        lambda: folder.add(made, "a"),
        lambda: folder.rotate(made, MESH),
        lambda: folder.create(made),
    ]
    for change in changes:
        with pytest.raises(KeysError, match=r"others can write in .*: expected chmod 700"):
            change()


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="No such file or directory; `fabric keys init` makes a folder"):
        folder.add(tmp_path / "nowhere", "a")


def test_a_link_to_the_rules_stays_one(made: Path, tmp_path: Path) -> None:
    (made / RULES).rename(tmp_path / "shared.toml")
    (made / RULES).symlink_to(tmp_path / "shared.toml")
    folder.add(made, "a")
    assert (made / RULES).is_symlink() and "identities.a" in (tmp_path / "shared.toml").read_text()


def test_two_that_change_it_at_once_lose_nothing(made: Path) -> None:
    threads = [threading.Thread(target=folder.add, args=(made, f"n{number}")) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(read_rules(made).identities) == {f"n{number}" for number in range(16)}
