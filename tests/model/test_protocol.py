"""The protocol holds in every state; without any one of its guards it does not, and the trace says
how.
"""

from dataclasses import replace

import pytest

from tests.model.search import Finding, explore
from tests.model.world import ONE_CHARGE, ONE_CHORD, Bug, Rules


@pytest.mark.parametrize(
    ("rules", "states"),
    [
        pytest.param(ONE_CHARGE, 11_366, id="charge"),
        pytest.param(ONE_CHORD, 17_908, id="chord", marks=pytest.mark.soak),
    ],
)
def test_every_promise_holds_in_every_state(rules: Rules, states: int) -> None:
    """Another number of states means another model: look whether it still visits what it is there
    for.
    """
    found = explore(rules)
    print(found)
    assert found == Finding(states)


def shortest_trace(bug: Bug, *, breaks: str, rules: Rules = ONE_CHARGE) -> list[str]:
    """How the rules without this guard come to break that promise."""
    found = explore(replace(rules, bug=bug), only=breaks)
    print(f"{bug.value}\n{found}")
    assert found.broken == breaks
    return list(found.trace)


def test_without_a_fence_a_ghost_settles_what_another_settles_too() -> None:
    assert shortest_trace(Bug.NO_FENCE, breaks="effects_at_most_once") == [
        "w1 claims the charge: attempt 1, token 1; the bell will be heard again",
        "w1 notes the operation as sent",
        "w1 calls the provider: charged",
        "clock rescues the charge, loss 1: waits again",
        "w2 claims the charge: attempt 2, token 2",
        "w1 (ghost) settles the charge",
        "w2 asks the provider: charged",
        "w2 settles the charge",
    ]


def test_an_unfenced_verdict_wakes_a_finished_job() -> None:
    assert shortest_trace(Bug.UNFENCED_VERDICT, breaks="the_end_is_the_end") == [
        "w1 claims the charge: attempt 1, token 1; the bell will be heard again",
        "w1 notes the operation as sent",
        "w1 calls the provider, the answer is lost",
        "clock rescues the charge, loss 1: waits again",
        "w2 claims the charge: attempt 2, token 2",
        "w2 asks the provider: charged",
        "w2 settles the charge",
        "w1 (ghost) gives the charge a retry",
    ]


def test_a_rescue_in_two_steps_takes_the_token_of_the_next_claim() -> None:
    assert shortest_trace(Bug.TWO_STEP_RESCUE, breaks="running_means_token_and_lease") == [
        "w1 claims the charge: attempt 1, token 1; the bell will be heard again",
        "clock rescues the charge, loss 1: waits again",
        "w2 claims the charge: attempt 2, token 2",
        "clock clears the token",
    ]


def test_an_attempt_number_repeats_when_postgres_forgets_a_claim() -> None:
    assert shortest_trace(Bug.ATTEMPT_AS_TOKEN, breaks="one_live_token") == [
        "w1 claims the charge: attempt 1, token 1; the bell will be heard again",
        "postgres crashes and forgets the claim",
        "w2 claims the charge: attempt 1, token 1",
    ]


def test_effects_apart_from_done_are_committed_twice() -> None:
    assert shortest_trace(Bug.SPLIT_EFFECTS, breaks="effects_at_most_once") == [
        "w1 claims the charge: attempt 1, token 1; the bell will be heard again",
        "w1 notes the operation as sent",
        "w1 calls the provider: charged",
        "w1 commits the effects",
        "clock rescues the charge, loss 1: waits again",
        "w2 claims the charge: attempt 2, token 2",
        "w2 asks the provider: charged",
        "w2 commits the effects",
    ]


def test_a_provider_key_per_attempt_charges_twice() -> None:
    assert shortest_trace(Bug.KEY_PER_ATTEMPT, breaks="one_charge") == [
        "w1 claims the charge: attempt 1, token 1; the bell will be heard again",
        "w1 notes the operation as sent",
        "w1 calls the provider: charged",
        "clock rescues the charge, loss 1: waits again",
        "w2 claims the charge: attempt 2, token 2",
        "w2 asks the provider: unknown",
        "w2 calls the provider: charged",
    ]


def test_a_claim_that_does_not_look_at_the_state_runs_a_finished_job() -> None:
    assert shortest_trace(Bug.UNCHECKED_CLAIM, breaks="the_end_is_the_end") == [
        "w1 claims the charge: attempt 1, token 1; the bell will be heard again",
        "w1 notes the operation as sent",
        "w1 calls the provider: charged",
        "w1 settles the charge",
        "w1 claims the charge: attempt 2, token 2",
    ]


def test_a_part_counted_twice_runs_the_body_too_early() -> None:
    assert shortest_trace(
        Bug.PART_COUNTED_TWICE, breaks="body_after_all_parts", rules=ONE_CHORD
    ) == ["w1 claims part 1: attempt 1, token 1", "w1 settles part 1", "w1 counts part 1 again"]


def test_a_part_counted_apart_from_its_end_runs_the_body_too_early() -> None:
    assert shortest_trace(
        Bug.PART_COUNTED_APART, breaks="body_after_all_parts", rules=ONE_CHORD
    ) == [
        "w1 claims part 1: attempt 1, token 1",
        "w1 counts part 1",
        "w2 claims part 2: attempt 1, token 1",
        "w2 counts part 2",
    ]


def test_a_call_before_the_note_leaves_a_charge_that_nobody_knows_of() -> None:
    assert shortest_trace(Bug.UNNOTED_CALL, breaks="no_unknown_charge") == [
        "w1 claims the charge: attempt 1, token 1; the bell will be heard again",
        "w1 goes on without a note",
        "w1 calls the provider, the answer is lost",
        "w1 gives the charge a retry",
        "w1 claims the charge: attempt 2, token 1",
        "w1 goes on without a note",
        "w1 calls the provider, the answer is lost",
        "w1 gives up the charge: dead",
    ]


def test_a_poisonous_job_that_dies_in_silence_leaves_its_charge_unknown() -> None:
    assert shortest_trace(Bug.SILENT_DEATH, breaks="no_unknown_charge") == [
        "w1 claims the charge: attempt 1, token 1; the bell will be heard again",
        "w1 notes the operation as sent",
        "w1 calls the provider: charged",
        "clock rescues the charge, loss 1: waits again",
        "w1 (ghost) finds its lease lost and rolls back",
        "w1 claims the charge: attempt 2, token 1; the bell will be heard again",
        "clock rescues the charge, loss 2: waits again",
        "w2 claims the charge: attempt 3, token 2",
        "clock rescues the charge, loss 3: dead",
    ]


def test_a_rescue_that_does_not_count_lets_a_job_kill_workers_for_ever() -> None:
    assert shortest_trace(Bug.UNCOUNTED_LOSS, breaks="every_loss_counts") == [
        "w1 claims the charge: attempt 1, token 1",
        "clock rescues the charge, loss 0: waits again",
    ]


def test_without_a_second_ring_nobody_hears_of_a_job_whose_first_bell_is_gone() -> None:
    assert shortest_trace(Bug.RUNG_ONCE, breaks="one_survivor_ends_every_job") == [
        "w2 claims the charge: attempt 1, token 1",
        "w1 and the clock cannot end every job",
    ]


def test_without_rescue_a_job_of_a_dead_worker_runs_for_ever() -> None:
    assert shortest_trace(Bug.NO_RESCUE, breaks="one_survivor_ends_every_job") == [
        "w2 claims the charge: attempt 1, token 1",
        "w1 and the clock cannot end every job",
    ]
