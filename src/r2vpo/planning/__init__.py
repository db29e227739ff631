"""What a recipe's run takes, from the model's configuration alone: memory, devices, work."""

from r2vpo.planning.plan import Options, Plan, make_plan
from r2vpo.planning.show import plan_text
from r2vpo.planning.work import Speed

__all__ = ["Options", "Plan", "Speed", "make_plan", "plan_text"]
