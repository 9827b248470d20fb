"""The rules by which verdicts come about, as data (params/verdicts.yaml) and as the text that a report prints."""

from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel, ConfigDict, Field, model_validator

from psap.utils.validation import validated
from psap.utils.yaml_files import read_mapping

ClaimId = Literal["S2", "S3", "S3b", "S5a", "S5b", "S5c", "S5d", "S5e", "S5f"]
RULES_FILE = "verdicts.yaml"
TEMPLATE = Path(__file__).with_name("rules.txt.j2")
_Positive = Annotated[float, Field(gt=0, le=100)]
_Share = Annotated[float, Field(gt=0, lt=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SmallestEffect(_Section):
    """What is smaller makes no practical difference: points of top-1, and of multiply-adds."""

    top1: _Positive = 0.5
    macs: _Positive = 2.0


class Mechanism(_Section):
    """Bounds beyond which the method acts; see psap.analysis.mechanism."""

    acted: Annotated[float, Field(ge=0, le=1)] = 0.03
    variation: Annotated[float, Field(ge=0)] = 0.1
    correlation: Annotated[float, Field(ge=-1, le=1)] = -0.3


class Rules(_Section):
    """What decides. The defaults are those of params/verdicts.yaml, for where there is no such file."""

    confidence: Annotated[float, Field(ge=0.5, le=0.999999)] = 0.95
    alpha: Annotated[float, Field(ge=1e-6, lt=0.5)] = 0.05
    power: Annotated[float, Field(ge=0.5, le=0.999)] = 0.8
    min_seeds: Annotated[int, Field(ge=2, le=1000)] = 3
    smallest_effect: SmallestEffect = SmallestEffect()
    spread: _Positive = 0.5
    high_ratio: _Share = 0.8
    tolerated_drop: _Positive = 1.0
    hierarchy: tuple[tuple[ClaimId, ...], ...] = (("S3", "S3b", "S2"), ("S5a", "S5c", "S5d", "S5b"), ("S5e", "S5f"))
    mechanism: Mechanism = Mechanism()

    @model_validator(mode="after")
    def _each_claim_once(self) -> Self:
        listed = [claim for level in self.hierarchy for claim in level]
        for claim in get_args(ClaimId):
            if listed.count(claim) != 1:
                raise ValueError(f"hierarchy: {claim} must be in one level, and is in {listed.count(claim) or 'none'}")
        return self

    def told(self) -> list[str]:
        """The rules in paragraphs."""
        environment = Environment(
            loader=FileSystemLoader(TEMPLATE.parent), undefined=StrictUndefined, autoescape=False, trim_blocks=True
        )
        environment.filters.update(percent=lambda share: f"{100 * share:g} %", g=lambda number: f"{number:g}")
        text = environment.get_template(TEMPLATE.name).render(self.model_dump())
        return [" ".join(paragraph.split()) for paragraph in text.split("\n\n") if paragraph.strip()]


def load(path: Path) -> Rules:
    """The rules in the file `path`, the defaults where there is none. PsapError on the first mistake in it."""
    return validated(Rules, read_mapping(path), str(path)) if path.exists() else Rules()
