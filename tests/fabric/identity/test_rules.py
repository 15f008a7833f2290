"""The file of public keys and roles: what is in it, and every way in which it can be wrong, with the words for it."""

from __future__ import annotations

import re

import pytest

from fabric.identity import rules
from fabric.identity.rules import BUILT_IN, DOORS, MAX_KEYS, Identity, Rules, parse
from fabric.rights import Rights, tag_of

A, B, C, D = (letter * 40 for letter in "abcd")
MESH = f'mesh = ["{A}"]\n'


def with_bob(rest: str) -> str:
    return f"{MESH}[identities.bob]\n{rest}\n"


def test_a_whole_file() -> None:
    text = f'''
mesh = ["{A}", "{B}"]
[roles.shop]
publish = ["orders/#", "desk/{{name}}/out"]
subscribe = ["price/+/eur"]
request = ["stock"]
serve = ["{{name}}"]
deny_publish = ["orders/internal/#"]
[identities.bob]
keys = ["{C}", "{D}"]
roles = ["shop", "observer"]
[identities.eve]
'''
    found = parse(text)
    assert found.mesh == (A, B)
    bob, eve = found.identities["bob"], found.identities["eve"]
    assert bob == Identity("bob", (C, D), ("shop", "observer")) and eve == Identity("eve", (), ("node",))
    assert found.by_key() == {C: bob, D: bob}
    assert found.rights(bob).publish[:2] == ("orders/#", "desk/bob/out")
    assert found.rights(bob).serve == ("bob",) and "#" in found.rights(bob).subscribe
    permissions = found.permissions()
    assert {key: (each.name, each.tag) for key, each in permissions.items()} == {
        C: ("bob", tag_of(C)),
        D: ("bob", tag_of(D)),
    }
    assert permissions[C].why_not_publish("orders/internal/x") == (
        "bob may not publish on 'orders/internal/x': it is denied"
    )


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("mesh = [", "no TOML: "),
        ("", "mesh: invalid keys None: expected an array of 1 to 2 public keys"),
        ("mesh = []", "mesh: invalid keys []: expected an array of 1 to 2 public keys"),
        ('mesh = "x"', "mesh: invalid keys 'x': expected an array of 1 to 2 public keys"),
        ('mesh = ["x"]', "mesh: invalid public key 'x': expected 40 characters, as `fabric keys show` prints"),
        ("mesh = [1]", "mesh: invalid public key 1: expected 40 characters"),
        (f"{MESH}keys = 1", "invalid key 'keys': expected mesh, roles or identities"),
        (f"roles = 1\n{MESH}", "invalid roles 1: expected tables [roles.NAME]"),
        (f"{MESH}[roles]\nx = 1", "invalid roles.x 1: expected a table"),
        (f'{MESH}[roles."a/b"]', "invalid name in roles 'a/b': expected 1 to 100 characters"),
        (f'{MESH}[identities.".x"]', "invalid name in identities '.x': expected 1 to 100 characters"),
        (f"{MESH}[roles.guest]", "[roles.guest]: this role is built in; choose another name"),
        (f"{MESH}[roles.r]\nread = []", "[roles.r]: invalid right 'read': expected one of publish, subscribe"),
        (f'{MESH}[roles.r]\npublish = "#"', "[roles.r]: invalid publish '#': expected an array of strings"),
        (f'{MESH}[roles.r]\npublish = ["a#"]', "[roles.r]: invalid filter 'a#'"),
        (with_bob("key = []"), "[identities.bob]: invalid key 'key': expected keys or roles"),
        (with_bob("roles = []"), "[identities.bob]: invalid roles []: expected an array with at least one name"),
        (with_bob('roles = "guest"'), "[identities.bob]: invalid roles 'guest': expected an array"),
        (with_bob("roles = [1]"), "[identities.bob]: invalid roles [1]: expected an array"),
        (
            with_bob('roles = ["x"]'),
            "[identities.bob]: invalid role 'x': expected one of frame, gateway, guest, keeper, node",
        ),
        (with_bob(f'keys = ["{B}", "{C}", "{D}"]'), "[identities.bob]: keys: invalid keys"),
        (with_bob('keys = ["short"]'), "[identities.bob]: keys: invalid public key 'short'"),
        (with_bob(f'keys = ["{B}", "{B}"]'), "is one of 'bob'"),
        (f'{with_bob(f"""keys = ["{B}"]""")}[identities.eve]\nkeys = ["{B}"]', "is one of 'bob'"),
    ],
)
def test_what_is_wrong_is_said_in_words(text: str, error: str) -> None:
    with pytest.raises(ValueError, match=re.escape(error)):
        parse(text)


def test_two_keys_with_one_tag_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "tag_of", lambda key: "00c0ffee")
    text = f'{with_bob(f"""keys = ["{B}"]""")}[identities.eve]\nkeys = ["{C}"]'
    with pytest.raises(ValueError, match=r"\[identities.eve\]: key .* is one of 'bob'"):
        parse(text)


def test_a_name_that_makes_a_right_invalid_is_told_with_its_owner() -> None:
    text = f'{MESH}[roles.r]\nserve = ["{{name}}{"x" * 60}"]\n[identities.{"b" * 60}]\nroles = ["r"]'
    with pytest.raises(ValueError, match=rf"\[identities.{'b' * 60}\]: invalid service to serve"):
        parse(text)


@pytest.mark.parametrize(
    ("roles", "doors"),
    [
        (["proxy"], {"link"}),
        (["guest"], {"guest"}),
        (["node"], {"in", "out", "guest"}),
        (["observer"], {"in", "out", "guest"}),
        (["gateway"], {"in", "out", "guest"}),
        (["proxy", "guest"], {"link", "guest"}),
        (["proxy", "operator"], set(DOORS)),
        (["guest", "node"], {"in", "out", "guest"}),
    ],
)
def test_who_enters_where(roles: list[str], doors: set[str]) -> None:
    identity = Identity("bob", (B,), tuple(roles))
    assert {door for door in DOORS if identity.may_enter(door)} == doors


def may(role: str, act: str, what: str) -> bool:
    found = Rules((A,), {"bob": Identity("bob", (B,), (role,))}, BUILT_IN).permissions()[B]
    return (found.why_not_publish(what) if act == "publish" else found.why_not_subscribe(what)) is None


# Who may do what of that which others rely on: rows are acts, columns the roles that may.
@pytest.mark.parametrize(
    ("act", "what", "who"),
    [
        ("publish", "a/b", "node operator"),
        ("publish", "$site_connect/gateways", "frame gateway"),
        ("publish", "$site_connect/agent/ada/chat", "frame gateway"),
        ("publish", "$site_connect/buttons", "frame"),
        ("publish", "~pagesession/h/s/form", "frame gateway"),
        ("publish", "~pagesession/h/s/frame/state", "frame"),
        ("publish", "$fabric/proxy/p1/ask", "observer operator"),
        ("publish", "$fabric/proxy/p1", ""),
        ("publish", "$fabric/audit/p1/cut", ""),
        ("publish", "$inbox/x/requests/frame", "frame gateway operator"),
        ("publish", f"$fabric/service/gateway/{tag_of(B)}0", "node operator"),
        ("publish", "$inbox/x/requests/stock", "node operator"),
        ("publish", f"$fabric/service/frame/{tag_of(B)}0", "frame operator"),
        ("publish", f"$fabric/service/stock/{tag_of(B)}0", "node operator"),
        ("publish", f"$fabric/service/keeper/{tag_of(B)}0", "keeper operator"),
        ("publish", f"$fabric/service/keeper-1of2/{tag_of(B)}0", "keeper operator"),
        ("publish", "$inbox/x/requests/keeper", "node operator"),
        ("publish", "$ack/deadbeef0/q", "observer operator"),
        ("publish", "$ack/deadbeef0/w", ""),
        ("publish", "$ack/deadbeef0/m", ""),
        ("subscribe", "a/#", "node observer operator guest keeper"),
        ("subscribe", "$site_connect/#", "frame"),
        ("subscribe", "$site_connect/agent/ada/chat", "frame gateway"),
        ("subscribe", "#", "node observer operator guest keeper"),
        ("subscribe", "~pagesession/h/s/#", "frame gateway"),
        ("subscribe", "$fabric/audit/#", "operator"),
        ("subscribe", "$fabric/proxy/p1/#", " ".join(sorted(BUILT_IN))),
        ("subscribe", "$inbox/deadbeef0/#", ""),
        ("subscribe", "$ack/deadbeef0/w", ""),
    ],
)
def test_what_the_built_in_roles_may(act: str, what: str, who: str) -> None:
    assert {role for role in BUILT_IN if may(role, act, what)} == set(who.split())


def test_built_in_roles_are_themselves_valid() -> None:
    assert all(isinstance(each, Rights) for each in BUILT_IN.values()) and MAX_KEYS == 2
    everybody = "".join(f'[identities.{role}-1]\nroles = ["{role}"]\n' for role in BUILT_IN)
    assert len(parse(MESH + everybody).identities) == len(BUILT_IN)
