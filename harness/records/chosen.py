"""What was chosen of a policy, as a manifest has it: without what it does by default."""

from __future__ import annotations

from collections.abc import Mapping

from harness.policies import SIMULATED, names, params_of


def chosen(policy: object) -> object:
    """Return a manifest's entry of a policy without parameters at their default.

    So a run is not another one because there is something new to choose. One that is not known any more is as it was.
    """
    if not isinstance(policy, Mapping) or policy.get("name") not in {*names(), *SIMULATED}:
        return policy
    defaults = params_of(str(policy["name"])).model_fields
    return {key: value for key, value in policy.items() if key not in defaults or value != defaults[key].default}
