"""Before a run: memory, devices and work from only the model's configuration; a recipe and a reward for own data."""

from r2vpo.planning.plan import Options, Plan, make_plan
from r2vpo.planning.show import plan_text
from r2vpo.planning.work import Speed

__all__ = ["Options", "Plan", "Speed", "make_plan", "plan_text"]
