"""The policy: what is moderated, how it is asked, what the numbers mean. One YAML file, held by the gateway alone."""

from services.policy.document import PolicyError, PolicyProblem
from services.policy.load import default_policy_path, load_policy
from services.policy.model import Actions, FailMode, FailModes, Policy, PolicyIssue, RankerSettings, RouterSettings

__all__ = [
    "Actions",
    "FailMode",
    "FailModes",
    "Policy",
    "PolicyError",
    "PolicyIssue",
    "PolicyProblem",
    "RankerSettings",
    "RouterSettings",
    "default_policy_path",
    "load_policy",
]
