import subprocess
import sys

import pytest

from psap.errors import PsapError
from psap.models.names import OWN, check_name


@pytest.mark.parametrize("name", [*OWN, "timm:efficientnet_b0", "torchvision:mobilenet_v2"])
def test_known_names_pass(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resnet21", "did you mean .*resnet20"),
        ("zzz", "known are resnet8"),
        ("", "known are resnet8"),
        ("timm:resnet19", "did you mean timm:resnet18"),
        ("timm:resnet18.a1_in1k", "did you mean timm:resnet18"),
        ("torchvision:resnet19", "did you mean torchvision:resnet18"),
        ("timm:", "timm.list_models"),
        ("torchvision:fcn_resnet50", "unknown model"),
        ("keras:resnet18", "unknown library 'keras'"),
    ],
)
def test_unknown_names_are_one_line_with_a_hint(name: str, says: str) -> None:
    with pytest.raises(PsapError, match=says) as caught:
        check_name(name)
    assert "\n" not in str(caught.value)


def test_our_own_names_import_no_torch_and_our_own_networks_no_library() -> None:
    code = """if True:
        import sys
        def loaded(): return [m for m in ("torch", "timm", "torchvision") if m in sys.modules]
        from psap.models import check_name
        check_name("resnet20")
        print(loaded())
        from psap.models import build, initialise
        initialise(build("resnet8", 10))
        print(loaded())
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "['torch']"]
