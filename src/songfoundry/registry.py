"""Find nets, systems and draws by name: a file's name is the registered name.

A module of `songfoundry.nets` with a constant `NET`, of `songfoundry.systems` with `SYSTEM`, or of
`songfoundry.data` with `DRAWS` is registered by being there. Another package adds its own by an entry point
in the group `songfoundry.nets`, `songfoundry.systems` or `songfoundry.data` that names such a module. A net's module says by
a constant `TASK` ("separate", "compose", "note", "encode", "picture", "picture_game", "convert", "judge") whose interface it keeps.
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


def nets_for(task: str) -> list[str]:
    """List the names of the nets that keep a task's interface, sorted; imports them all."""
    return [name for name in names("nets") if getattr(module("nets", name), "TASK", None) == task]


def build_net(task: str, name: str, preset: str | None, options: dict, **given):
    """Build a net of a task from a preset, with single values of it overridden by options and what the system gives itself.

    Raises
    ------
    ConfigError : no such net for this task, no such preset, or an option that the net does not know.
    """
    found = module("nets", name)
    if getattr(found, "TASK", None) != task:
        raise ConfigError(f"expected a net whose TASK is {task!r}, found {name!r}: {nearest(name, nets_for(task))}")
    if preset is not None and preset not in found.PRESETS:
        raise ConfigError(f"expected a preset of {name}, found {preset!r}: {nearest(preset, list(found.PRESETS))}")
    try:
        return found.NET(**given, **{**(found.PRESETS[preset] if preset else {}), **options})
    except TypeError as error:
        raise ConfigError(f"expected options that {name} knows in net_options, found others ({error}): see its class") from None


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
