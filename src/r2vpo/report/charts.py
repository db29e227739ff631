"""The charts of a run's report: which numbers each one shows, and what a healthy curve looks like."""

from r2vpo.report.learning_charts import LEARNING
from r2vpo.report.training_charts import TRAINING

CHARTS = (*LEARNING, *TRAINING)
