"""From a request to what a model takes. Decides everything before any money is spent.

`route` runs once, where the request is made: it finds the model that can take it, refuses what none can, and fixes
the seed. `inputs_for` runs before every attempt, on whichever model: the same request and model give the same inputs.
"""

from replibatch.routing.carry import REFERENCE_NAMES, inputs_for
from replibatch.routing.route import located, route
from replibatch.routing.routed import Routed

__all__ = ["REFERENCE_NAMES", "Routed", "inputs_for", "located", "route"]
