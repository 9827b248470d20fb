"""The names of networks, and whether a name is one. Free of torch, so that a configuration is checked in an instant."""

from difflib import get_close_matches

from psap.errors import LONGEST_NAME, PsapError

RESNET_DEPTHS = (8, 20, 32, 56, 110)
OWN = (*(f"resnet{d}{option}" for option in ("", "_b") for d in RESNET_DEPTHS), "vgg16_bn", "vgg11_bn_quarter")
LIBRARIES = ("timm", "torchvision")


def split(name: str) -> tuple[str, str]:
    """Split "timm:resnet18" into ("timm", "resnet18"); one of our own names gives ("", name)."""
    library, colon, entry = name.rpartition(":")
    if colon and library not in LIBRARIES:
        raise PsapError(f"model {name!r}: unknown library {library!r}; write timm:<name> or torchvision:<name>")
    return library, entry


def check_own_name(name: str) -> None:
    """As `check_name`, but of a library's network only whether there is such a library: nothing is imported."""
    library, _ = split(name)
    if not library:
        check_name(name)


def check_name(name: str) -> None:
    """Raise PsapError, with close matches, unless `name` is a network that `psap.models.build` knows.

    Imports timm or torchvision when the prefix asks for it, and nothing otherwise.
    """
    library, entry = split(name)
    known = _entries(library)
    if entry in known:
        return
    prefix = f"{library}:" if library else ""
    close = get_close_matches(entry[:LONGEST_NAME], known, n=3)
    hint = "did you mean " + " or ".join(prefix + c for c in close) if close else _listing(library)
    raise PsapError(f"unknown model {name!r}; {hint}")


def _entries(library: str) -> list[str]:
    if library == "timm":
        import timm

        return list(timm.list_models())
    if library == "torchvision":
        from torchvision import models

        return list(models.list_models(module=models))
    return list(OWN)


def _listing(library: str) -> str:
    if library == "timm":
        return "timm.list_models() lists the names"
    if library == "torchvision":
        return "torchvision.models.list_models(module=torchvision.models) lists the names"
    return f"known are {', '.join(OWN)}, timm:<name> and torchvision:<name>"
