"""The nightly load as Airflow 3 DAGs: `mindo_nightly`, and `mindo_reconcile` in the night to Sunday.

Copy it to Airflow's folder of DAGs. The connector has an environment of its own, because Airflow pins its own packages; it is
called as a command. Before the first run:

    airflow pools set mindo_api 2 "batches that ask Mindo's API at once"
    airflow variables set mindo_command /srv/mindo/.venv/bin/mindo
    airflow variables set mindo_folder /srv/mindo
    airflow variables set mindo_webhook_secret https://hooks.slack.com/services/...

The folder holds `.dlt/config.toml` and `.dlt/secrets.toml`, and local state; workers on other machines need it there as well, but
do not have to share it. The pool keeps the fleet within the API's rate limit. Where the destination has no locks (all but DuckDB
on one machine, and PostgreSQL) it has to have one slot. Variables whose name holds `secret` are masked in Airflow's logs.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import DAG, BaseOperator, TriggerRule, Variable
from airflow.sdk.exceptions import AirflowException, AirflowFailException

TRIED_AGAIN = {3: "API", 5: "DESTINATION", 130: "INTERRUPTED"}
"""Exit codes after which Airflow tries again; so it does after a signal."""
FINAL = {2: "CONFIGURATION", 4: "GUARD", 6: "DIFFERENT", 7: "DBT"}
"""Exit codes after which trying again can't help; so is any other."""

POOL = "mindo_api"
RETRIES = {
    "retries": 4,
    "retry_delay": timedelta(seconds=float(os.environ.get("MINDO_RETRY_SECONDS", "300"))),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(hours=1),
}


class MindoOperator(BaseOperator):
    """Calls `mindo ... --json` and returns how it ended.

    Args:
        arguments: Of the command, `--json` left out.
    """

    template_fields = ("arguments",)

    def __init__(self, *, arguments: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arguments = list(arguments)
        self._process: subprocess.Popen[str] | None = None

    def execute(self, context: Mapping[str, Any]) -> Any:
        """Runs the command to its end.

        Raises:
            AirflowException: After an exit code in `TRIED_AGAIN`, or a signal.
            AirflowFailException: After any other but 0.
        """
        command = [
            Variable.get("mindo_command", default="/srv/mindo/.venv/bin/mindo"),
            *self.arguments,
            "--json",
            "--quiet",
        ]
        self.log.info("%s", shlex.join(command))
        self._process = subprocess.Popen(
            command,
            cwd=Variable.get("mindo_folder", default="/srv/mindo"),
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        out, err = self._process.communicate()
        for line in err.splitlines():
            self.log.warning("%s", line)
        code = self._process.returncode
        if code == 0:
            document = json.loads(out)
            self.log.info("%s", document["message"])
            return self.result(document)
        failure = AirflowException if code < 0 or code in TRIED_AGAIN else AirflowFailException
        raise failure(f"exit code {code}{_name(code)}: mindo {shlex.join(self.arguments)}")

    def result(self, document: dict[str, Any]) -> Any:
        """What later tasks get: numbers, never a message."""
        return {name: document.get(name) for name in ("message", "messages_written", "rows", "watermarks")}

    def on_kill(self) -> None:
        """Ends the command with the task; what it has loaded stays."""
        if self._process is not None:
            self._process.terminate()


class PlanOperator(MindoOperator):
    """Returns the arguments of a load for each batch."""

    def result(self, document: dict[str, Any]) -> list[list[str]]:
        """A batch is one company's windows within a month."""
        return [
            ["batch", "--companies", str(batch["company_id"]), "--from", batch["start"], "--to", batch["end"]]
            for batch in document["batches"]
        ]


def _environment() -> dict[str, str]:
    # what dlt would take for an explicit range, and what belongs to Airflow's own Python
    foreign = {"DLT_INTERVAL_START", "DLT_INTERVAL_END", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    return {name: value for name, value in os.environ.items() if name not in foreign}


def _name(code: int) -> str:
    name = (TRIED_AGAIN | FINAL).get(code)
    return f" ({name})" if name else ""


def tell_webhook(context: Mapping[str, Any]) -> None:
    """Tells a Slack-compatible webhook, if there is one, once per run that failed."""
    url = Variable.get("mindo_webhook_secret", default="")
    if url:
        text = f"{context['dag'].dag_id} has failed: {context['run_id']}, {context.get('reason')}"
        body = json.dumps({"text": text}).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30):
            pass


def make_dag(dag_id: str, schedule: str, options: Sequence[str] = ()) -> DAG:
    """Plans, loads the batches side by side, then builds the dbt models and reports.

    Args:
        dag_id: Its name.
        schedule: As in a crontab, UTC.
        options: What the plan is made with besides the configuration.
    """
    with DAG(
        dag_id,
        schedule=schedule,
        start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
        catchup=False,  # the warehouse knows what is missing; a night that was left out needs no run of its own
        max_active_runs=1,
        default_args=RETRIES,
        on_failure_callback=tell_webhook,
        dagrun_timeout=timedelta(hours=12),
        tags=["mindo"],
    ) as dag:
        plan = PlanOperator(task_id="plan", arguments=["plan", "--batches", *options])
        load = MindoOperator.partial(task_id="load", pool=POOL).expand(arguments=plan.output)
        # as `mindo run --dbt`: also where some windows are missing
        build = MindoOperator(
            task_id="build", arguments=["dbt", "build"], trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS
        )
        # the last task decides whether the run has failed, so it needs all others; without a batch they are skipped
        report = MindoOperator(task_id="report", arguments=["status"], trigger_rule=TriggerRule.NONE_FAILED)
        plan >> load >> build >> report
        plan >> build
        [plan, load] >> report
    return dag


nightly = make_dag("mindo_nightly", "17 5 * * 1-6")
reconcile = make_dag("mindo_reconcile", "17 5 * * 0", ["--lookback-days", "31"])
