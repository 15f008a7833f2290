"""The keys of one process: what it shows of itself, and what it knows the proxies by.

A folder holds them:

    keys.toml     public keys and roles of everybody, see `fabric.identity.rules`; may be kept in version control
    NAME.key      the private key of NAME, one line, for its owner's eyes only
    mesh.key      the private key that all proxies show to those who connect; proxies need it, nobody else

`FABRIC_KEYS` names the folder for whatever is given no other, and `FABRIC_IDENTITY` the identity.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from fabric.errors import KeysError, expected
from fabric.identity.rules import KEY, MESH, Rules, parse

RULES_FILE, SUFFIX = "keys.toml", ".key"
FOLDER_VARIABLE, IDENTITY_VARIABLE = "FABRIC_KEYS", "FABRIC_IDENTITY"
MAX_FILE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Keys:
    """The keys of one process. `load` is the way to get them.

    folder:      where they came from; a proxy reads the rules there again
    name:        of the identity
    public:      its public key
    secret:      its private key
    mesh:        public keys of the proxies, at least one: nobody else is talked to
    mesh_secret: what a proxy shows to those who connect; None: this process is no proxy
    """

    folder: Path
    name: str
    public: str
    secret: str = field(repr=False)
    mesh: tuple[str, ...]
    mesh_secret: str | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """The public key that this process shows to those who connect: one of `mesh`. Only for a proxy."""
        assert self.mesh_secret is not None
        return public_of(self.mesh_secret)


def load(folder: str | Path, name: str | None = None, *, as_proxy: bool = False) -> Keys:
    """Return the keys of one identity.

    name:     None: the only one in the folder that fits: for a proxy one with the role `proxy`, else one with another
    as_proxy: the private key of the mesh is wanted, too
    errors:   KeysError with the file and what is wrong
    """
    folder = Path(folder)
    rules = read_rules(folder)
    name = name or _only(folder, rules, as_proxy=as_proxy)
    identity = rules.identities.get(name)
    if identity is None:
        raise KeysError(f"{folder / RULES_FILE}: {expected('identity', name, _known(rules))}")
    if as_proxy and "proxy" not in identity.roles:
        raise KeysError(f"{folder / RULES_FILE}: {name!r} has the roles {', '.join(identity.roles)}, and needs `proxy`")
    secret = read_private(folder / f"{name}{SUFFIX}")
    public = public_of(secret)
    if public not in identity.keys:
        raise KeysError(f"{folder / name}{SUFFIX} is no key of {name!r} in {RULES_FILE}: was it revoked or rotated?")
    mesh_secret = read_private(folder / f"{MESH}{SUFFIX}") if as_proxy else None
    if mesh_secret is not None and public_of(mesh_secret) not in rules.mesh:
        raise KeysError(f"{folder / MESH}{SUFFIX} is none of the keys under `mesh` in {RULES_FILE}")
    return Keys(folder, name, public, secret, rules.mesh, mesh_secret)


def from_environment(*, as_proxy: bool = False, name: str | None = None) -> Keys | None:
    """Return the keys that the environment names; None when it names none. errors: as `load`

    name: preferred where the folder has its key
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return None
    if name is not None and not (Path(folder) / f"{name}{SUFFIX}").exists():
        name = None
    return load(folder, name or (None if as_proxy else os.environ.get(IDENTITY_VARIABLE) or None), as_proxy=as_proxy)


def read_rules(folder: Path) -> Rules:
    """Return the rules of a folder. errors: KeysError"""
    path = folder / RULES_FILE
    try:
        for each in (folder, path):
            if each.stat().st_mode & stat.S_IWOTH:
                raise KeysError(f"{each} can be changed by anybody on this machine: chmod o-w {each}")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise KeysError(f"{path}: expected at most {MAX_FILE_BYTES} bytes")
        return parse(path.read_text())
    except OSError as error:
        raise KeysError(f"{path}: {error.strerror}; `fabric keys init` makes a folder of keys") from error
    except ValueError as error:
        raise KeysError(f"{path}: {error}") from error


def read_private(path: Path) -> str:
    """Return a private key. errors: KeysError, also when others can read it"""
    try:
        with open(path) as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(200).strip()
    except (OSError, ValueError) as error:
        raise KeysError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeysError(f"{path} can be read or changed by others (mode {mode & 0o777:04o}): chmod 600 {path}")
    if not KEY.fullmatch(text):
        raise KeysError(f"{path}: expected a private key, one line of 40 characters")
    return text


def public_of(secret: str) -> str:
    """Return the public key of a private one."""
    import zmq  # 30 ms: rules can be read without

    return zmq.curve_public(secret.encode()).decode()


def new_pair() -> tuple[str, str]:
    """Return a new public and private key."""
    import zmq

    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


def _only(folder: Path, rules: Rules, *, as_proxy: bool) -> str:
    here = sorted(path.stem for path in folder.glob(f"*{SUFFIX}") if path.stem != MESH)
    known = [name for name in here if name in rules.identities]
    fitting = [name for name in known if ("proxy" in rules.identities[name].roles) == as_proxy]
    if len(fitting) == 1:
        return fitting[0]
    what = "proxy" if as_proxy else "identity that is no proxy"
    if not fitting:
        raise KeysError(f"{folder}: there is no private key of any {what}: `fabric keys add NAME` makes one")
    raise KeysError(f"{folder}: there are keys of {', '.join(fitting)}: say whose to use (--identity NAME)")


def _known(rules: Rules) -> str:
    names = ", ".join(sorted(rules.identities))
    return f"one of {names[:200]}" if names else "one that `fabric keys add NAME` has made"
