"""Fuzzing of a service by its OpenAPI document: no 5xx, and no answer that the document does not have."""

from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def fuzz(document: dict[str, Any], port: int, examples: int, headers: dict[str, str]) -> int:
    """Send so many requests to each operation, and check the answers; return the number of operations."""
    operations = [found.ok() for found in schemathesis.openapi.from_dict(document).get_all_operations()]
    for operation in operations:

        @settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def answered_as_documented(case: Case) -> None:
            response = case.call(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=20)
            case.validate_response(response, checks=CHECKS)

        answered_as_documented()
    return len(operations)
