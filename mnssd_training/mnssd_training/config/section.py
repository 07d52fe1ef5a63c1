"""What all sections of an experiment share: frozen, strict, each key with its docstring."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """
    A group of keys of an experiment.

    Unknown keys are errors; the docstring under a field is its description, here, in the JSON
    schema and in the editor.
    """

    model_config = ConfigDict(
        frozen=True, extra='forbid', use_attribute_docstrings=True, allow_inf_nan=False
    )
