"""Each guard of the ledger is taken out of a copy of the source, and the test that stands for it
must go red there.

The first fourteen are the bugs of `tests/model/world.py`; the model finds them too, without
Postgres.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from django.db import connection

from tests.machine.own_broker import OwnBroker
from tests.model.world import Bug
from tests.rooms import CHECKOUT

COPIED = (
    "api",
    "config",
    "celery_ledger",
    "demo",
    "ops",
    "notifications",
    "orders",
    "values",
    "tests",
    "conftest.py",
    "pyproject.toml",
    "Procfile",
)
RUN_LIMIT_S, SOUND_LIMIT_S = 100, 900


@dataclass(frozen=True)
class Planted:
    """`old` stands once in the file, and is replaced by `new`."""

    bug: str
    test: str
    file: str
    old: str
    new: str

    def __str__(self) -> str:
        return self.bug.lower().replace(" ", "-")


def in_order(bug: Bug | str, test: str, file: str, old: str, new: str) -> Planted:
    of = (
        "orders/payments/test_charge"
        if file.startswith("orders/")
        else "celery_ledger/execution/test"
    )
    return Planted(
        bug.name if isinstance(bug, Bug) else bug,
        f"tests/{of}_interleavings.py::{test}",
        file,
        old,
        new,
    )


RESCUE = "in_company=models.Exists(beside))  # type: ignore[no-redef]\n            "
THREADS = "tests/promises/workers/test_threads.py"
BATCH = "tests/celery_ledger/execution/test_batch.py"
LIMITS = "tests/celery_ledger/limits/test_limits.py"
PLANTED = [
    in_order(
        Bug.NO_FENCE,
        "test_a_ghost_settles_nothing_that_another_hand_has_settled",
        "celery_ledger/models/jobs/claim.py",
        " AND job.token = settled.token AND job.lease_until IS NOT NULL",
        "",
    ),
    in_order(
        Bug.UNFENCED_VERDICT,
        "test_a_ghosts_verdict_wakes_nobody",
        "celery_ledger/models/jobs/queryset.py",
        "self.held(claim).update(**waiting(",
        "self.filter(pk=claim.id).update(finished_at=None, **waiting(",
    ),
    in_order(
        Bug.TWO_STEP_RESCUE,
        "test_a_settlement_that_comes_in_the_middle_of_a_rescue_is_too_late",
        "celery_ledger/models/jobs/lost.py",
        RESCUE + ".select_for_update(skip_locked=True, no_key=True)",
        RESCUE,
    ),
    in_order(
        Bug.ATTEMPT_AS_TOKEN,
        "test_an_attempt_number_that_repeats_after_a_crash_gives_no_right_to_settle",
        "celery_ledger/models/jobs/claim.py",
        "AND job.token = settled.token AND",
        "AND",
    ),
    in_order(
        Bug.SPLIT_EFFECTS,
        "test_effects_and_done_are_lost_together",
        "celery_ledger/execution/attempt.py",
        "    if current.task.atomic:\n",
        "    if not task.name:\n",
    ),
    in_order(
        Bug.KEY_PER_ATTEMPT,
        "test_two_attempts_at_one_charge_are_one_charge",
        "orders/payments/models.py",
        "            key=self.key,\n            amount=",
        '            key=f"{self.key} {id(self)}",\n            amount=',
    ),
    in_order(
        Bug.UNCHECKED_CLAIM,
        "test_hands_that_claim_at_the_same_moment_share_nothing",
        "celery_ledger/models/jobs/claim.py",
        "AND lease_until IS NULL AND finished_at IS NULL\n",
        "\n",
    ),
    in_order(
        Bug.PART_COUNTED_TWICE,
        "test_a_part_done_by_two_hands_counts_once",
        "celery_ledger/models/chord.py",
        "        self.parts.create(job=job, index=index, result=result)\n",
        "        for twice in (job, self.pk):\n"
        "            self.parts.create(job=twice, index=index, result=result)\n",
    ),
    in_order(
        Bug.PART_COUNTED_APART,
        "test_two_parts_that_end_at_the_same_moment_promise_one_body",
        "celery_ledger/models/chord.py",
        "return self.select_for_update(no_key=True).filter(",
        "return self.filter(",
    ),
    in_order(
        Bug.UNNOTED_CALL,
        "test_while_the_provider_is_called_our_row_says_that_it_may_know",
        "orders/payments/models.py",
        "        if not self._note_sent():\n",
        "        if not self.key:\n",
    ),
    in_order(
        Bug.SILENT_DEATH,
        "test_a_poisonous_job_and_its_errback_end_in_one_transaction",
        "celery_ledger/worker/rescuer.py",
        "self.app.backend.fail(request_of(job), self.app.backend.raised(error))\n",
        "pass\n",
    ),
    in_order(
        Bug.UNCOUNTED_LOSS,
        "test_clocks_that_rescue_at_the_same_moment_count_one_loss",
        "celery_ledger/models/jobs/lost.py",
        "lost = {column: F(column) + int(counts)}\n",
        "lost = {column: F(column)}\n",
    ),
    in_order(
        Bug.RUNG_ONCE,
        "test_clocks_that_ring_at_the_same_moment_ring_once_and_again_when_nobody_heard",
        "celery_ledger/models/jobs/unheard.py",
        "self.filter(unheard, state=State.WAITING)",
        "self.filter(unheard, state='waiting', rings=0)",
    ),
    in_order(
        "ONE_TURN_FOR_ALL",
        "test_a_clock_that_rings_in_one_queue_keeps_no_other_clock_from_ringing_in_the_next",
        "celery_ledger/worker/ringer.py",
        'we_lead(f"ring {queue}")',
        'we_lead("ring")',
    ),
    in_order(
        Bug.NO_RESCUE,
        "test_a_silent_workers_job_is_given_to_another_hand",
        "celery_ledger/worker/rescuer.py",
        "self._running().lost(),",
        "Job.objects.none(),",
    ),
    in_order(
        "a rescue that waits for the row",
        "test_a_rescue_leaves_a_job_that_is_being_settled",
        "celery_ledger/models/jobs/lost.py",
        RESCUE + ".select_for_update(skip_locked=True, no_key=True)",
        RESCUE + ".select_for_update(no_key=True)",
    ),
    in_order(
        "a claim that waits for the row",
        "test_a_job_is_either_cancelled_or_claimed",
        "celery_ledger/models/jobs/claim.py",
        "ORDER BY id FOR NO KEY UPDATE SKIP LOCKED",
        "ORDER BY id FOR NO KEY UPDATE",
    ),
    Planted(
        "a bell before the commit",
        "tests/celery_ledger/publishing/test_amqp.py::test_nothing_rings_before_the_commit_and_all_ring_after_it",
        "celery_ledger/publishing/amqp.py",
        "transaction.on_commit(Peal(self.bell, [self.ring_for(job)]), robust=True)",
        "Peal(self.bell, [self.ring_for(job)])()",
    ),
    Planted(
        "slots for everybody",
        "tests/celery_ledger/limits/test_rates.py::test_each_job_waits_for_a_slot_of_its_own_whoever_hears_its_bell",
        "celery_ledger/execution/limited.py",
        "timelimit, slots=_slots(task))",
        "timelimit)",
    ),
    Planted(
        "a retry that keeps its slot",
        "tests/celery_ledger/limits/test_rates.py::test_a_job_whose_slot_has_come_begins_and_a_retry_takes_a_new_one",
        "celery_ledger/models/jobs/claim.py",
        "slot_at = NULL, ",
        "",
    ),
    Planted(
        "a slot for each bell",
        "tests/celery_ledger/limits/test_rates.py::test_doubled_and_early_bells_take_no_further_slot",
        "celery_ledger/models/limits/rate_limit.py",
        "AND due_at <= clock_timestamp() AND slot_at IS NULL",
        "",
    ),
    Planted(
        "A_PLACE_TOO_MANY",
        f"{LIMITS}::test_hands_that_claim_at_once_never_run_more_than_may",
        "celery_ledger/models/jobs/claim.py",
        "AND cardinality(free.places) < %(places)s",
        "",
    ),
    Planted(
        "AN_END_THAT_BRINGS_NOBODY",
        f"{LIMITS}::test_whoever_has_waited_longest_is_brought_when_one_ends_and_is_rung_for",
        "celery_ledger/execution/answering.py",
        "is not None and current.leaves_place:",
        "is None:",
    ),
    Planted(
        "WORD_THAT_IS_LEFT_TOO_LATE",
        f"{LIMITS}::test_an_end_that_comes_while_somebody_gets_in_line_is_seen",
        "celery_ledger/models/limits/concurrency.py",
        "return bool(number >= places)",
        "return True",
    ),
    in_order(
        "a frozen clock keeps the lead",
        "test_a_clock_that_freezes_in_the_lead_loses_it",
        "celery_ledger/worker/lead.py",
        "'idle_in_transaction_session_timeout'",
        "'ledger.nothing'",
    ),
    in_order(
        "clocks that wait for one that promises",
        "test_no_clock_waits_for_another_that_promises_slots",
        "celery_ledger/worker/scheduler.py",
        'if not we_lead(f"promise {name}"):',
        "if not name:",
    ),
    Planted(
        "bells that only an empty queue misses",
        "tests/celery_ledger/worker/test_clock.py::test_a_queue_with_fewer_bells_than_were_rung_has_lost_some",
        "celery_ledger/worker/ringer.py",
        "if missing > 0:",
        "if missing > 1_000_000:",
    ),
    Planted(
        "a deaf worker that is left alone",
        "tests/celery_ledger/worker/test_hearing.py::test_one_that_begins_nothing_is_cured_in_steps_and_at_last_ends",
        "celery_ledger/worker/hearing.py",
        "            self._cure(now, now - since)",
        "            pass",
    ),
    Planted(
        "a busy worker that is cured",
        "tests/celery_ledger/worker/test_hearing.py::test_a_healthy_worker_is_left_alone",
        "celery_ledger/worker/hearing.py",
        " or len(self._busy()) >= self.parent.pool.num_processes",
        "",
    ),
    Planted(
        "a bell that is held beside an idle process",
        "tests/celery_ledger/worker/test_hearing.py::test_a_bell_that_it_holds_beside_an_idle_process_is_enough",
        "celery_ledger/worker/hearing.py",
        "min([self._begun_at, *self._held.values()])",
        "self._begun_at",
    ),
    Planted(
        "an order and its first job in two transactions",
        "tests/api/endpoints/ordering/test_orders.py::test_an_order_is_accepted_with_its_row_its_event_and_its_first_job",
        "orders/tasks.py",
        "    begin(order)\n    return order",
        "    return order",
    ),
    Planted(
        "A_PRODUCER_OUTLIVES_A_ROLLBACK",
        "tests/celery_ledger/publishing/test_amqp.py"
        "::test_a_transaction_that_is_rolled_back_within_a_producer_leaves_no_job",
        "celery_ledger/publishing/together.py",
        "    return connection.in_atomic_block, savepoints\n",
        "    return False, savepoints\n",
    ),
    Planted(
        "NO_VERDICT_WHERE_THE_CONNECTION_WAS_LENT",
        "tests/celery_ledger/execution/test_threads.py"
        "::test_a_call_that_fails_has_its_verdict_though_its_connection_was_lent",
        "celery_ledger/execution/verdict.py",
        " or connection.connection is None:",
        ":",
    ),
    Planted(
        "A_PROCESS_TAKES_THE_TURN_OF_A_CALL",
        "tests/celery_ledger/execution/test_threads.py::test_no_process_of_the_pool_takes_the_turn_of_a_call",
        "celery_ledger/execution/turns.py",
        "threaded_tasks(app) if are_near() else {}",
        "dict[str, Any]()",
    ),
    Planted(
        "A_VERDICT_IS_INTERRUPTED",
        "tests/celery_ledger/execution/test_threads.py"
        "::test_a_time_limit_is_for_the_body_and_not_for_the_verdict",
        "celery_ledger/threads/process.py",
        "return self.attempt.in_body and ",
        "return ",
    ),
    Planted(
        "CALLS_HOLD_THEIR_CONNECTION",
        f"{THREADS}::test_many_calls_wait_at_once_beside_one_process_and_hold_no_connection",
        "celery_ledger/execution/lending.py",
        "    if _in_threads:\n",
        "    if False:\n",
    ),
    Planted(
        "A_FROZEN_PROCESS_OF_CALLS_STAYS",
        f"{THREADS}::test_a_frozen_process_is_killed_and_its_calls_are_made_again",
        "celery_ledger/threads/step.py",
        "> ledger_settings.THREADS_SILENCE_S:",
        "> 1e9:",
    ),
    Planted(
        "A_CALL_BEGINS_WHILE_THE_WORKER_STOPS",
        f"{THREADS}::test_a_worker_that_is_told_to_stop_lets_its_calls_end_and_begins_no_other",
        "celery_ledger/threads/process.py",
        "self.leaving = self.leaving or LEAVE in heard",
        "self.leaving = self.leaving",
    ),
    Planted(
        "NO_SOFT_LIMIT_IN_A_THREAD",
        f"{THREADS}::test_time_limits_reach_a_thread",
        "celery_ledger/threads/process.py",
        "                _raise_in(self.thread, SoftTimeLimitExceeded)\n",
        "                pass\n",
    ),
    Planted(
        "A_LAST_TRY_AMONG_MANY",
        "tests/celery_ledger/execution/test_threads.py"
        "::test_a_job_that_was_lost_beside_others_twice_is_left_to_the_pool_and_its_clock_rings",
        "celery_ledger/models/jobs/due.py",
        '"shared": ledger_settings.SHARED_LOSSES,',
        '"shared": ledger_settings.SHARED_LOSSES + 9,',
    ),
    Planted(
        "A_VERDICT_INSIDE_A_BATCH",
        f"{BATCH}::test_one_that_ends_otherwise_does_so_alone_and_the_others_are_done_once",
        "celery_ledger/execution/attempt.py",
        "if current.is_beside_others and not _ends_the_process(exc):",
        "if False:",
    ),
    Planted(
        "A_BATCH_WITHOUT_FENCE",
        f"{BATCH}::test_one_whose_lease_is_lost_has_no_effect_and_the_others_are_done_once",
        "celery_ledger/execution/batch.py",
        "if self.settled and not Job.objects.settle(self.settled):",
        "if self.settled and Job.objects.settle(self.settled) is None:",
    ),
    Planted(
        "TOLD_BEFORE_THE_COMMIT",
        f"{BATCH}::test_what_is_told_of_one_is_told_after_the_commit",
        "celery_ledger/execution/batch.py",
        "if not self.waiting or self.is_late:",
        "if not self.waiting or self.is_late or member.batch is self:",
    ),
    Planted(
        "A_LOST_ONE_BESIDE_OTHERS_AGAIN",
        f"{BATCH}::test_what_was_tried_before_is_tried_by_itself",
        "celery_ledger/models/jobs/claim.py",
        "AND (attempts = 0 OR NOT %(first)s)",
        "AND (true OR %(first)s)",
    ),
    Planted(
        "ONE_OWNER_HAS_ALL_TURNS_OF_A_BATCH",
        f"{BATCH}::test_while_several_owners_wait_each_bell_is_for_whose_turn_it_is",
        "celery_ledger/execution/turns.py",
        "return look.priorities or look.owners",
        "return look is None",
    ),
    Planted(
        "A_BELL_USED_UP_BY_ITS_COMPANY",
        f"{BATCH}::test_a_bell_of_what_was_tried_before_is_not_used_up_by_its_company",
        "celery_ledger/execution/answering.py",
        'if row_id(bells[0]["id"]) not in {claim.id for claim in claims}:',
        "if not claims:",
    ),
    Planted(
        "A_REPLACEMENT_THAT_A_BODY_SWALLOWS",
        f"{BATCH}::test_a_body_that_goes_on_after_it_was_replaced_is_replaced",
        "celery_ledger/execution/batch.py",
        "if self.is_spoilt:",
        "if False:",
    ),
    Planted(
        "CLAIMS_THAT_NOBODY_GIVES_BACK",
        f"{BATCH}::test_what_a_hook_of_one_raises_keeps_nothing_from_the_others",
        "celery_ledger/execution/batch.py",
        "        _give_back([*waiting], were_begun=False)\n    return outcome",
        "        pass\n    return outcome",
    ),
    Planted(
        "A_TRIED_JOB_WITHOUT_A_TURN",
        f"{BATCH}::test_a_job_that_was_tried_before_has_its_turn_among_owners_too",
        "celery_ledger/execution/turns.py",
        '(turn.task, turn.attempts) == (bells[0]["task"], 0)',
        'turn.task == bells[0]["task"]',
    ),
    Planted(
        "JOBS_COUNTED_AS_BUSY_PROCESSES",
        "tests/celery_ledger/worker/test_hearing.py::test_one_process_at_many_jobs_is_one_busy_process",
        "celery_ledger/worker/hearing.py",
        "for pid in {*running} if",
        "for pid in running if",
    ),
    Planted(
        "A_POISON_THAT_IS_NEVER_ALONE",
        "tests/celery_ledger/worker/test_clock.py"
        "::test_where_none_can_be_made_alone_a_job_that_takes_its_process_down_dies_too",
        "celery_ledger/models/jobs/job.py",
        " or self.shared_losses >= ledger_settings.SHARED_LOSSES",
        "",
    ),
    Planted(
        "A_LOST_BACKLOG_RUNG_DROP_BY_DROP",
        "tests/celery_ledger/worker/test_clock.py"
        "::test_a_queue_that_has_lost_its_bells_is_filled_at_once_batch_by_batch",
        "celery_ledger/worker/ringer.py",
        "while some == ledger_settings.BATCH and rung < number:",
        "if rung < number:",
    ),
    Planted(
        "A_BATCH_OF_SLOW_JOBS",
        f"{BATCH}::test_when_it_is_late_those_that_have_not_begun_go_back_and_are_rung_for",
        "celery_ledger/execution/batch.py",
        "if not self.waiting or self.is_late:",
        "if not self.waiting:",
    ),
    Planted(
        "BLAMED_FOR_ANOTHER",
        "tests/celery_ledger/worker/test_clock.py"
        "::test_who_of_many_took_their_process_down_is_not_known_and_none_of_them_dies",
        "celery_ledger/models/jobs/job.py",
        "return not self.in_company or",
        "return self.in_company is not None or",
    ),
    Planted(
        "A_QUEUE_THAT_WAITS_FOR_EVER",
        "tests/celery_ledger/worker/test_patience.py::test_one_that_nothing_came_from_for_long_comes_first_once",
        "celery_ledger/celery/transport.py",
        "return [*late, *(queue",
        "return [*(queue",
    ),
    Planted(
        "THE_FLOOD_COMES_FIRST",
        "tests/celery_ledger/execution/test_threads.py"
        "::test_the_first_of_each_owner_comes_before_the_second_of_any",
        "celery_ledger/models/jobs/due.py",
        "ORDER BY place, priority DESC, turn, due_at",
        "ORDER BY place, priority DESC, due_at",
    ),
    Planted(
        "A_MARK_ABOVE_WHAT_COMMITS_LATE",
        "tests/celery_ledger/worker/test_low_water.py::test_what_is_committed_late_is_not_behind_the_mark",
        "celery_ledger/models/jobs/low_water.py",
        "WHERE backend_xid IS NOT NULL AND",
        "WHERE false AND",
    ),
    Planted(
        "A_PROMISE_BEHIND_THE_MARK",
        "tests/celery_ledger/worker/test_low_water.py::test_nothing_waits_from_a_time_before_it_was_said_to",
        "celery_ledger/models/jobs/promise.py",
        "greatest(%s, statement_timestamp() + %s)",
        "coalesce(%s, statement_timestamp() + %s)",
    ),
    Planted(
        "A_CLAIM_OF_WHAT_IS_PAUSED",
        "tests/celery_ledger/limits/test_pausing.py::test_none_of_its_jobs_is_claimed_until_it_is_resumed",
        "celery_ledger/models/jobs/claim.py",
        "AND {queue_runs} AND {task_runs}",
        "",
    ),
    Planted(
        "A_TURN_FOR_WHAT_IS_PAUSED",
        "tests/celery_ledger/limits/test_pausing.py::test_a_paused_task_takes_nobody_s_turn",
        "celery_ledger/models/jobs/due.py",
        "          AND {task_runs} AND %(timelimit)s",
        "          AND %(timelimit)s",
    ),
    Planted(
        "A_BATCH_FOR_EACH_CLICK",
        "tests/ops/test_jobs.py::test_all_of_a_filter_are_counted_then_retried_once_each",
        "ops/tasks.py",
        "        if is_new:",
        "        if batch:",
    ),
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("planted")
    for name in COPIED:
        if (CHECKOUT / name).is_dir():
            shutil.copytree(
                CHECKOUT / name, root / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(CHECKOUT / name, root)
    return root


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """Its own database, kept from run to run and dropped with the tests of this one; and its own
    broker, which nobody empties who plants other bugs at the same time.
    """
    database = connection.settings_dict
    name = f"planted_{database['NAME']}"
    credentials = ":".join(quote(str(database[part]), safe="") for part in ("USER", "PASSWORD"))
    url = f"postgres://{credentials}@{database['HOST']}:{database['PORT']}/{name}"
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")
    }
    own = {"DATABASE_URL": url, "DEBUG": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    with OwnBroker() as broker:
        yield {**inherited, **own, "REDIS_URL": broker.url}
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0; SET transaction_timeout = 0")  # a slow disk
        cursor.execute(f'DROP DATABASE IF EXISTS "test_{name}"')
        cursor.execute("RESET statement_timeout; RESET transaction_timeout")


def pytest_in(
    copy: Path, environment: dict[str, str], *tests: str, within_s: float
) -> subprocess.CompletedProcess[str]:
    options = ["-q", "-p", "no:cacheprovider", "-W", "default", "-m", "soak or not soak"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )


@pytest.mark.parametrize("planted", PLANTED, ids=str)
def test_each_bug_can_still_be_planted(planted: Planted) -> None:
    sound = (CHECKOUT / planted.file).read_text()
    assert sound.count(planted.old) == 1, f"{planted.file} has changed: plant this bug anew"
    assert planted.old != planted.new


@pytest.mark.soak
@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(RUN_LIMIT_S + 20)
@pytest.mark.parametrize("planted", PLANTED, ids=str)
def test_a_planted_bug_is_found(planted: Planted, copy: Path, environment: dict[str, str]) -> None:
    file = copy / planted.file
    sound = file.read_text()
    file.write_text(sound.replace(planted.old, planted.new))
    try:
        run = pytest_in(copy, environment, planted.test, within_s=RUN_LIMIT_S)
    finally:
        file.write_text(sound)
    assert (run.returncode, "failed" in run.stdout, " error" in run.stdout.splitlines()[-1]) == (
        1,
        True,
        False,
    ), run.stdout


@pytest.mark.soak
@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(SOUND_LIMIT_S + 20)
def test_without_a_bug_each_of_these_tests_is_green(
    copy: Path, environment: dict[str, str]
) -> None:
    """Else it would be red whatever is planted."""
    tests = dict.fromkeys(planted.test for planted in PLANTED)
    run = pytest_in(copy, environment, *tests, within_s=SOUND_LIMIT_S)
    assert run.returncode == 0, run.stdout
    assert "deselected" not in run.stdout


def test_every_bug_of_the_model_is_planted() -> None:
    assert {bug.name for bug in Bug} <= {planted.bug for planted in PLANTED}
