"""`manage.py jobs stats|list|show|why|retry|cancel|pause|resume`"""

import argparse
import getpass
import os
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from celery_ledger.conf import ledger_settings
from celery_ledger.models import RETRYABLE, Job, JobQuerySet, PauseKind, State
from celery_ledger.operations import asked, interventions, listing, pausing, stats, why

ENDABLE = (State.WAITING, State.DEAD)


class Command(BaseCommand):
    help = "Look into the ledger, and put right what a person has to."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        stats = actions.add_parser("stats", help="counts by task and state, what waits, who works")
        stats.set_defaults(do=self.stats)
        listed = actions.add_parser("list", help="one line a job, newest first")
        listed.set_defaults(do=self.listing)
        show = actions.add_parser("show", help="every column of one job")
        show.set_defaults(do=self.show)
        why = actions.add_parser("why", help="one job's story, and why it does not run now")
        why.set_defaults(do=self.why)
        retry = actions.add_parser(
            "retry", help="dead or cancelled jobs wait again, due now, counted as new"
        )
        retry.set_defaults(do=self.retry)
        cancel = actions.add_parser(
            "cancel", aliases=["revoke"], help="waiting jobs will not run; dead ones are put aside"
        )
        cancel.set_defaults(do=self.cancel)
        cancel.add_argument("--note", default="", help="why, for whoever asks later")
        pause = actions.add_parser("pause", help="none of its jobs begins until it is resumed")
        pause.set_defaults(do=self.pause)
        pause.add_argument("--note", default="", help="why, for whoever asks later")
        resume = actions.add_parser("resume", help="its jobs begin again")
        resume.set_defaults(do=self.resume)
        for action in (pause, resume):
            action.add_argument("kind", choices=PauseKind.values)
            action.add_argument("name", help="of a queue, a task, or an entry of beat_schedule")
        _add_filters(listed)
        for action in (stats, listed, show):
            action.add_argument("--json", action="store_true", help="for programs, not for people")
        for action, states in ((retry, RETRYABLE), (cancel, ENDABLE)):
            action.add_argument("--task", help="all of this task instead of single jobs")
            action.add_argument("--state", help=f"with --task: {' or '.join(states)}")
        for action, number in ((show, None), (why, None), (retry, "*"), (cancel, "*")):
            text = "a job's id, or how it begins"
            action.add_argument("ids" if number else "id", metavar="ID", nargs=number, help=text)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            options["do"](options)
        except asked.Misunderstood as exc:
            raise CommandError(str(exc)) from exc

    # --- the actions ------------------------------------------------------------------------------

    def stats(self, options: dict[str, Any]) -> None:
        self.stdout.write(stats.stats_as_json() if options["json"] else stats.stats())

    def listing(self, options: dict[str, Any]) -> None:
        write = listing.lines_of_json if options["json"] else listing.listing
        text = write(_narrowed(options), limit=options["limit"])
        if text:
            self.stdout.write(text)

    def show(self, options: dict[str, Any]) -> None:
        write = listing.sheet_as_json if options["json"] else listing.sheet
        self.stdout.write(_found(options["id"], write))

    def why(self, options: dict[str, Any]) -> None:
        self.stdout.write(_found(options["id"], why.explain))

    def retry(self, options: dict[str, Any]) -> None:
        _one_way(
            options, "Name the jobs by their ids, or all of one task by --task T --state dead."
        )
        if options["ids"]:
            ids = [asked.job_id(text) for text in options["ids"]]
            retried = interventions.retry(Job.objects.filter(pk__in=ids), by=_me())
            self._report(ids, retried, "waits again, due now", interventions.WHY_NOT_RETRIED)
            return
        state = _state(options, RETRYABLE, default=State.DEAD)
        jobs = Job.objects.filter(task=asked.task(options["task"]), state=state)
        number = len(interventions.retry(jobs, by=_me()))
        self.stdout.write(f"Jobs of {options['task']} that wait again, due now: {number}.")

    def cancel(self, options: dict[str, Any]) -> None:
        _one_way(options, "Name the jobs by their ids, or all that wait of one task by --task T.")
        signed = {"by": _me(), "note": options["note"]}
        if options["ids"]:
            ids = [asked.job_id(text) for text in options["ids"]]
            jobs = Job.objects.filter(pk__in=ids)
            discarded = interventions.discard(jobs, **signed)
            cancelled = interventions.cancel(jobs, **signed)
            for job in discarded:
                self.stdout.write(f"Job {job.pk} ({job.task}) was dead and is put aside.")
            left = [id_ for id_ in ids if id_ not in {job.pk for job in discarded}]
            self._report(left, cancelled, "is cancelled", interventions.WHY_NOT_ENDED)
            return
        jobs = Job.objects.filter(task=asked.task(options["task"]))
        if _state(options, ENDABLE, default=State.WAITING) == State.DEAD:
            ended, outcome = interventions.discard(jobs, **signed), "were dead and are put aside"
        else:
            ended, outcome = interventions.cancel(jobs, **signed), "are cancelled"
        self.stdout.write(f"Jobs of {options['task']} that {outcome}: {len(ended)}.")

    def pause(self, options: dict[str, Any]) -> None:
        kind, name = PauseKind(options["kind"]), _existing(options)
        if not pausing.pause(kind, name, by=_me(), note=options["note"]):
            raise CommandError(f"The {kind} {name} is paused already.")
        self.stdout.write(f"The {kind} {name} is paused. What runs goes on.")

    def resume(self, options: dict[str, Any]) -> None:
        kind, name = PauseKind(options["kind"]), options["name"]
        if not pausing.resume(kind, name, by=_me()):
            raise CommandError(f"The {kind} {name} is not paused.")
        self.stdout.write(f"The {kind} {name} is resumed.")

    def _report(
        self, ids: list[UUID], changed: list[Job], outcome: str, why_not: dict[State, str]
    ) -> None:
        """Print which of these jobs were changed. Raises CommandError, with a sentence for each, if
        some were left alone or do not exist.
        """
        for job in changed:
            self.stdout.write(f"Job {job.pk} ({job.task}) {outcome}.")
        left = Job.objects.defer("args", "result").in_bulk(set(ids) - {job.pk for job in changed})
        unknown = set(ids) - {job.pk for job in changed} - set(left)
        refused = [interventions.refusal(job, why_not) for job in left.values()]
        refused += [asked.unknown(id_) for id_ in sorted(unknown)]
        if refused:
            raise CommandError("\n".join(refused))


def _add_filters(listed: argparse.ArgumentParser) -> None:
    listed.add_argument("--state", help=f"{', '.join(State.values)}, or Celery's name of one")
    listed.add_argument("--task", help="the full name, e.g. proj.tasks.add")
    listed.add_argument("--queue")
    listed.add_argument("--since", help="promised in the last 30m, 2h, 7d, or since a date")
    listed.add_argument("--about", help="with this in their arguments, or what it stands for")
    most = ledger_settings.JOBS_LIST_MAX
    listed.add_argument("--limit", type=_limit, default=20, help=f"1 to {most}; 20 unless told")


def _narrowed(options: dict[str, Any]) -> JobQuerySet:
    """The jobs that the filters of `jobs list` ask for."""
    jobs = asked.about(options["about"]) if options["about"] else Job.objects.all()
    if options["state"]:
        jobs = jobs.filter(state=asked.state(options["state"]))
    if options["task"]:
        jobs = jobs.filter(task=asked.task(options["task"]))
    if options["queue"]:
        jobs = jobs.filter(queue=asked.queue(options["queue"]))
    if options["since"]:
        jobs = jobs.filter(created_at__gte=asked.since(options["since"]))
    return jobs


def _existing(options: dict[str, Any]) -> str:
    """The name to pause. Raises Misunderstood if there is no queue, task or schedule of it."""
    check = {"queue": asked.queue, "task": asked.task, "schedule": asked.schedule}
    return check[options["kind"]](options["name"])


def _one_way(options: dict[str, Any], sentence: str) -> None:
    """Raise CommandError unless jobs are named by their ids or by a task, but not both; a state may
    be named only beside a task.
    """
    if bool(options["ids"]) == bool(options["task"]):
        raise CommandError(sentence)
    if options["state"] and not options["task"]:
        sentence = "--state goes with --task: a job named by its id is in its own state."
        raise CommandError(sentence)


def _state(options: dict[str, Any], allowed: tuple[State, ...], *, default: State) -> State:
    """The state that is named, or else this one. Raises CommandError if it is not allowed."""
    state = asked.state(options["state"]) if options["state"] else default
    if state not in allowed:
        raise CommandError(f"Not those that are {state}: only {' or '.join(allowed)} ones.")
    return state


def _limit(text: str) -> int:
    """The number of `--limit`, from 1 to JOBS_LIST_MAX."""
    most = ledger_settings.JOBS_LIST_MAX
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= most):
        raise argparse.ArgumentTypeError(f"a whole number from 1 to {most}")
    return int(text)


def _found(text: str, write: Callable[[UUID], str | None]) -> str:
    """What `write` writes of the job of this id. Raises CommandError if there is none."""
    answer = write(asked.job_id(text))
    if answer is None:
        raise CommandError(asked.unknown(text))
    return answer


def _me() -> str:
    """The name of the system's user, for the log."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # the user of a container may have no name
        return f"uid {os.getuid()}"
