"""The Airflow DAGs as text, because Airflow is not here; `airflow_trial.py` runs them."""

from __future__ import annotations

import ast
from typing import Any

from mindo_pipeline.exit_codes import ExitCode
from tests.mindo_pipeline.harness import mindo
from tests.schedules.places import NIGHTLY, RECONCILE, SCHEDULES

DAGS = SCHEDULES / "airflow" / "mindo_dags.py"
TREE = ast.parse(DAGS.read_text(encoding="utf-8"))


def assigned(name: str) -> Any:
    """The value of a constant."""
    (value,) = (
        node.value
        for node in TREE.body
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]
    )
    return ast.literal_eval(value)


def test_every_exit_code_is_either_tried_again_or_final() -> None:
    again, final = assigned("TRIED_AGAIN"), assigned("FINAL")
    assert not again.keys() & final.keys()
    assert {0: "COMPLETE"} | again | final == {code.value: code.name for code in ExitCode}
    assert again.keys() == {ExitCode.API, ExitCode.DESTINATION, ExitCode.INTERRUPTED}


def test_each_night_has_one_run() -> None:
    made = {
        ast.literal_eval(call.args[0]): [ast.literal_eval(argument) for argument in call.args[1:]]
        for call in ast.walk(TREE)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "make_dag"
    }
    assert made == {"mindo_nightly": [NIGHTLY], "mindo_reconcile": [RECONCILE, ["--lookback-days", "31"]]}


def test_every_command_that_a_task_calls_is_there() -> None:
    lists = [
        ast.unparse(keyword.value)
        for keyword in ast.walk(TREE)
        if isinstance(keyword, ast.keyword) and keyword.arg == "arguments"
    ]
    assert lists == ["['plan', '--batches', *options]", "plan.output", "['dbt', 'build']", "['status']"]
    for command in (["plan", "--batches"], ["batch", "--companies", "--from", "--to"], ["dbt", "build"], ["status"]):
        words, options = [part for part in command if part[0] != "-"], [part for part in command if part[0] == "-"]
        shown = mindo(*words, "--help")
        assert shown.code == 0
        assert all(option in shown.out for option in (*options, "--json", "--quiet")), words
