"""The models behind YAML files: a mapping with known keys, each with its docstring."""

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from psap.utils.mappings import JsonObject


class Section(BaseModel):
    """A mapping in a YAML file: an unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Growing(Section):
    """A section that has grown: what is not set in it is not in its runs' identities either, which so stay the same."""

    @model_serializer(mode="wrap")
    def _without_unset(self, handler: SerializerFunctionWrapHandler) -> JsonObject:
        values: JsonObject = handler(self)
        fields = type(self).model_fields
        later = {name: fields[name].default for name in self.later()}
        return {name: value for name, value in values.items() if name not in later or value != later[name]}

    @classmethod
    def later(cls) -> tuple[str, ...]:
        """The keys that came later."""
        raise NotImplementedError
