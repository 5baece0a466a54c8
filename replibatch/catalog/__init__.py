"""The models to choose from: what each makes, takes and costs, and who stands in for it."""

from replibatch.catalog.catalog import Catalog, load
from replibatch.catalog.inputs import InputSpec
from replibatch.catalog.models import Edge, Model

__all__ = ["Catalog", "Edge", "InputSpec", "Model", "load"]
