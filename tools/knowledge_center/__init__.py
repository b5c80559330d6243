"""A knowledge center: models and their versions, and the smallest update between them (S1, ACM Multimedia 2018).

    from tools.knowledge_center import Planner, Store
    store = Store.create("center")
    store.add("v1", refcodec.load("v1.onnx"))
    store.add("v2", refcodec.load("v2.onnx"), parent="v1")
    plan = Planner(store).plan("v2", have=store.version("v1").model_digest)

README.md in this folder shows the commands and the service.
"""

from .errors import CenterError
from .planning import Plan, Planner
from .store import Store

__all__ = ["CenterError", "Plan", "Planner", "Store"]
