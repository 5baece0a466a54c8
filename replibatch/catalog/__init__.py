"""The models to choose from: what each makes, takes and costs, and who stands in for it."""

from replibatch.catalog.catalog import USER_FILE, Catalog, address_of, built_in_models, built_in_names, load
from replibatch.catalog.inputs import InputSpec
from replibatch.catalog.models import Edge, Model

__all__ = [
    "USER_FILE",
    "Catalog",
    "Edge",
    "InputSpec",
    "Model",
    "address_of",
    "built_in_models",
    "built_in_names",
    "load",
]
