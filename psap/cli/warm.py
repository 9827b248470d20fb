"""`python -m psap.cli.warm SOCKET` imports what `psap train` does, once, and runs the commands of all who ask."""

import sys

from psap.utils.forking import serve


def _prepare() -> None:
    """Import it all, and digest the code: what is imported is what that says."""
    import psap.cli.main
    import psap.models.cifar_resnet
    import psap.models.vgg
    import psap.suites.run
    import psap.training.launch  # noqa: F401
    from psap.suites.digest import code_digest

    code_digest("train")


if __name__ == "__main__":
    sys.argv[1:] = serve(sys.argv[1], _prepare)
    from psap.__main__ import main

    main()
