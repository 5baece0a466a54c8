"""A stand-in for Replicate: a real HTTP server of its API that keeps books and makes faults to order.

Used by `replibatch demo` and `replibatch sandbox`, and by every test and benchmark. It makes pictures of its own,
costs nothing, and sends webhooks to this machine alone.
"""

from replibatch.sandbox.books import Bill, Books
from replibatch.sandbox.hosting import ModelSpec, Price
from replibatch.sandbox.server import Sandbox, serve
from replibatch.sandbox.settings import SandboxSettings

__all__ = ["Bill", "Books", "ModelSpec", "Price", "Sandbox", "SandboxSettings", "serve"]
