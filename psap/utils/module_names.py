"""The names that modules and tensors have in a network."""


def inside(module: str, name: str) -> str:
    """The name in the network of what is called `name` in a module of it; `""` is the network itself."""
    return f"{module}.{name}" if module else name
