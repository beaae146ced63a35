"""What staff did, and what they had done to many jobs at once."""

from ops.models.action import StaffAction as StaffAction
from ops.models.batch import JobBatch as JobBatch
