"""Find nets, systems and draws by name: a file's name is the registered name.

A module of `songfoundry.nets` with a constant `NET`, of `songfoundry.systems` with `SYSTEM`, or of
`songfoundry.data` with `DRAWS` is registered by being there. Another package adds its own by an entry point
in the group `songfoundry.nets`, `songfoundry.systems` or `songfoundry.data` that names such a module.
"""

import difflib
import pkgutil
from importlib import import_module, util
from importlib.metadata import entry_points
from types import ModuleType

from songfoundry.errors import ConfigError

KINDS = {"nets": "NET", "systems": "SYSTEM", "data": "DRAWS"}


def nearest(name: str, known: list[str]) -> str:
    """Phrase which of the known names is meant, for the end of an error's sentence."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(sorted(known)) or 'none'}"


def _has_constant(module: str, constant: str) -> bool:
    """Tell from the source alone whether a module defines the constant: no import, no torch."""
    spec = util.find_spec(module)
    if spec is None or not spec.origin:
        return False
    with open(spec.origin, encoding="utf-8") as source:
        return any(line.startswith((f"{constant} =", f"{constant}:")) for line in source)


def names(kind: str) -> list[str]:
    """List the registered names of a kind ("nets", "systems" or "data"), sorted."""
    package = f"songfoundry.{kind}"
    own = [m.name for m in pkgutil.iter_modules(import_module(package).__path__)]
    found = {name for name in own if _has_constant(f"{package}.{name}", KINDS[kind])}
    return sorted(found | {entry.name for entry in entry_points(group=package)})


def module(kind: str, name: str) -> ModuleType:
    """Import the module that is registered under a name.

    Raises
    ------
    ConfigError : no such name; the sentence names the nearest one.
    """
    known = names(kind)
    if name not in known:
        raise ConfigError(f"expected the name of one of the {kind}, found {name!r}: {nearest(name, known)}")
    for entry in entry_points(group=f"songfoundry.{kind}"):
        if entry.name == name:
            return entry.load()
    return import_module(f"songfoundry.{kind}.{name}")


def get(kind: str, name: str):
    """Return the class that is registered under a name; raises `ConfigError` as `module` does."""
    return getattr(module(kind, name), KINDS[kind])
